"""Kinds of camera URLs and their validation; `pipeline.base.urls` splits and masks URLs."""

import os
import re
from enum import Enum
from pathlib import Path
from urllib.parse import unquote_to_bytes

from pipeline.base.hosts import split_authority
from pipeline.base.urls import AMBIGUOUS, HIDDEN, UrlError


class UrlKind(Enum):
    """How a camera is reached."""

    RTSP = "rtsp"
    HTTP = "http"
    FILE = "file"
    DEVICE = "device"


LONGEST = 4000
"""FFmpeg cuts off longer ones, user and password included."""
SCHEMES = "rtsp://, rtsps://, http://, https://, file:, a path, or /dev/video*"

_KINDS = {
    "rtsp": UrlKind.RTSP,
    "rtsps": UrlKind.RTSP,
    "http": UrlKind.HTTP,
    "https": UrlKind.HTTP,
    "file": UrlKind.FILE,
}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")


def kind_of(url: str) -> UrlKind:
    """How the URL is reached. UrlError for a scheme that is not supported."""
    scheme = _SCHEME.match(url)
    if scheme is None:
        return UrlKind.DEVICE if url.startswith("/dev/video") else UrlKind.FILE
    try:
        return _KINDS[scheme[1].lower()]
    except KeyError:
        raise UrlError(f"the scheme {scheme[1]:.12}: is not supported; use {SCHEMES}") from None


def check_url(url: str) -> None:
    """UrlError unless the public part of the URL names a place that can be opened."""
    kind = kind_of(url)
    if len(url) > LONGEST:
        raise UrlError(f"the URL has {len(url)} characters; FFmpeg takes {LONGEST}")
    if kind in (UrlKind.FILE, UrlKind.DEVICE):
        if not url or "\0" in str(path := local_path(url)) or not path.name:
            raise UrlError("the URL names no file")
        return
    if f"//{HIDDEN}@" in url:
        raise UrlError(AMBIGUOUS)
    if re.search(r"[\s\x00-\x1f]", url):
        raise UrlError("the URL contains a space or a control character; write it as %20 and the like")
    separator = url[url.index(":") :][:3]
    authority = _authority(url)
    if separator != "://" or not authority:
        raise UrlError("the URL names no host; it reads rtsp://host[:port]/path")
    split_authority(authority)


def host_of(url: str) -> str:
    """The host of a network URL without user and password. UrlError where it is none."""
    return host_and_port(url)[0]


def host_and_port(url: str) -> tuple[str, int | None]:
    """Host and port of a network URL without user and password. UrlError where it has none."""
    return split_authority(_authority(url))


def _authority(url: str) -> str:
    return re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)[0]


def local_path(url: str) -> Path:
    """The path behind `file:` URLs (percent-decoded) and bare paths (as they are)."""
    scheme = _SCHEME.match(url)
    if scheme is None:
        return Path(url)
    path = url[scheme.end() :]
    if path.startswith("//"):
        host, slash, rest = path[2:].partition("/")
        if host not in ("", "localhost"):
            raise UrlError("a file: URL names no other host; it reads file:///path")
        path = slash + rest
    return Path(os.fsdecode(unquote_to_bytes(os.fsencode(path))))  # names of files are bytes

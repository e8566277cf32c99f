"""Kinds of camera URLs and their validation; `pipeline.base.urls` splits and masks URLs."""

import os
import re
from enum import Enum
from pathlib import Path
from urllib.parse import unquote_to_bytes

from pipeline.base.hosts import split_authority
from pipeline.base.urls import AMBIGUOUS, HIDDEN, UrlError


class UrlKind(Enum):
    """Kind of a camera's URL."""

    RTSP = "rtsp"
    HTTP = "http"
    FILE = "file"
    DEVICE = "device"


MAX_LENGTH = 4000
"""Maximum length; FFmpeg truncates longer URLs, which include user and password."""
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
    """The kind of a URL. Raises UrlError for an unsupported scheme."""
    scheme = _SCHEME.match(url)
    if scheme is None:
        return UrlKind.DEVICE if url.startswith("/dev/video") else UrlKind.FILE
    try:
        return _KINDS[scheme[1].lower()]
    except KeyError:
        raise UrlError(f"the scheme {scheme[1]:.12}: is not supported; use {SCHEMES}") from None


def check_url(url: str) -> None:
    """Validate the public part of a URL. Raises UrlError."""
    kind = kind_of(url)
    if len(url) > MAX_LENGTH:
        raise UrlError(f"the URL has {len(url)} characters; the maximum is {MAX_LENGTH}")
    if kind in (UrlKind.FILE, UrlKind.DEVICE):
        if not url or "\0" in str(path := local_path(url)) or not path.name:
            raise UrlError("the URL has no file name")
        return
    if f"//{HIDDEN}@" in url:
        raise UrlError(AMBIGUOUS)
    if re.search(r"[\s\x00-\x1f]", url):
        raise UrlError("the URL contains a space or a control character; percent-encode it (a space is %20)")
    separator = url[url.index(":") :][:3]
    authority = _authority(url)
    if separator != "://" or not authority:
        raise UrlError("the URL names no host; write rtsp://host[:port]/path")
    split_authority(authority)


def host_of(url: str) -> str:
    """Host of a network URL without user and password. Raises UrlError."""
    return host_and_port(url)[0]


def host_and_port(url: str) -> tuple[str, int | None]:
    """Host and port of a network URL without user and password. Raises UrlError."""
    return split_authority(_authority(url))


def _authority(url: str) -> str:
    return re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)[0]


def local_path(url: str) -> Path:
    """Path of a `file:` URL (percent-decoded) or of a bare path (unchanged). Raises UrlError."""
    scheme = _SCHEME.match(url)
    if scheme is None:
        return Path(url)
    path = url[scheme.end() :]
    if path.startswith("//"):
        host, slash, rest = path[2:].partition("/")
        if host not in ("", "localhost"):
            raise UrlError("a file: URL must not name a host; write file:///path")
        path = slash + rest
    return Path(os.fsdecode(unquote_to_bytes(os.fsencode(path))))  # file names are bytes

"""Camera URLs: which kinds there are, and how their passwords are kept out of sight."""

import re
from enum import Enum
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote


class Kind(Enum):
    """How a camera is reached."""

    RTSP = "rtsp"
    HTTP = "http"
    FILE = "file"
    DEVICE = "device"


SCHEMES = "rtsp://, rtsps://, http://, https://, file:, a path, or /dev/video*"

_KINDS = {"rtsp": Kind.RTSP, "rtsps": Kind.RTSP, "http": Kind.HTTP, "https": Kind.HTTP, "file": Kind.FILE}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_NO_SLASHES = re.compile(rf"{_SCHEME.pattern}/?(?=[^/\s])")
"""People forget a slash or two: such a URL is refused, and what it holds is a password all the same."""
_SECRET_KEYS = re.compile(r"pass|pwd|pw$|token|secret|key|auth|sig|login|user|usr", re.IGNORECASE)
_HIDDEN = "***"


class UrlError(ValueError):
    """A URL that no camera can have; the text names what is wrong, never the URL itself."""


class SplitUrl(NamedTuple):
    """A URL taken apart into what may be seen and what may not."""

    public: str
    """Without user and password; a path or a query that carries a secret is replaced by ***."""
    user: str | None
    """Percent-decoded."""
    password: str | None
    """Percent-decoded."""
    secret_end: str | None
    """What *** stands for at the end of `public`, as it was written; None where there is no secret."""


def kind_of(url: str) -> Kind:
    """How the URL is reached. UrlError for a scheme that is not supported."""
    scheme = _SCHEME.match(url)
    if scheme is None:
        return Kind.DEVICE if url.startswith("/dev/video") else Kind.FILE
    try:
        return _KINDS[scheme[1].lower()]
    except KeyError:
        raise UrlError(f"the scheme {scheme[1]}: is not supported; use {SCHEMES}") from None


def check(url: str) -> None:
    """UrlError unless the public part of the URL names a place that can be opened."""
    kind = kind_of(url)
    if kind in (Kind.FILE, Kind.DEVICE):
        if not url or "\0" in str(path := local_path(url)) or not path.name:
            raise UrlError("the URL names no file")
        return
    if re.search(r"[\s\x00-\x1f]", url):
        raise UrlError("the URL contains a space or a control character; write it as %20 and the like")
    separator, rest = url[url.index(":") :][:3], url[url.index(":") + 3 :]
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    host, port = _host_and_port(authority)
    if separator != "://" or not host:
        raise UrlError("the URL names no host; it reads rtsp://host[:port]/path")
    if port is not None and not (re.fullmatch("[0-9]{1,5}", port) and 0 < int(port) < 65536):
        raise UrlError("the URL's port is not a number from 1 to 65535")


def host_of(url: str) -> str:
    """The host of a network URL without user and password."""
    return _host_and_port(re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)[0])[0]


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
    return Path(unquote(path))


def split_url(url: str) -> SplitUrl:
    """Take user, password and secrets in path and query out of a URL."""
    start, end = _user_info(url)
    if start == end:
        public, user, password = url, None, None
    else:
        name, colon, secret = url[start : end - 1].partition(":")
        public, user, password = url[:start] + url[end:], unquote(name), unquote(secret) if colon else None
    hidden_from = _secret_start(public)
    if hidden_from is None:
        return SplitUrl(public, user, password, None)
    return SplitUrl(public[:hidden_from] + _HIDDEN, user, password, public[hidden_from:])


def joined(public: str, secret_end: str | None) -> str:
    """The URL with the secret end that `split_url` took out of it."""
    return public if secret_end is None else public.removesuffix(_HIDDEN) + secret_end


def mask_url(url: str) -> str:
    """The URL with user and password, and a path or a query that carries a secret, replaced by ***."""
    start, end = _user_info(url)
    public = split_url(url).public
    return public if start == end else f"{url[:start]}{_HIDDEN}@{public[start:]}"


def _user_info(url: str) -> tuple[int, int]:
    """Where `user:password@` begins and ends; an empty range where there is none.

    People write passwords as they are, with @, ?, # and / in them. So the last @ before the path counts,
    and where what stands before the path is no host with a port, the last @ at all.
    """
    start = _host_start(url)
    if start is None:
        return 0, 0
    authority = url[start:].partition("/")[0]
    at = authority.rfind("@")
    if at < 0 and not re.fullmatch(r"(\[[^\]]*\]|[^:?#]*)(:\d*)?([?#].*)?", authority):
        at = url[start:].rfind("@")
    return (start, start + at + 1) if at >= 0 else (0, 0)


def _secret_start(url: str) -> int | None:
    """Where the path or the query begins in which a key sounds like a secret; None where none does.

    Some recorders want user and password in the path: rtsp://host/user=admin_password=secret_channel=1.sdp
    """
    start = _host_start(url)
    if start is None:
        return None
    place, _, query = url[start:].partition("?")
    host, slash, path = place.partition("/")
    if slash and _names_secret(path):
        return start + len(f"{host}/")
    return start + len(f"{place}?") if _names_secret(query) else None


def _host_start(url: str) -> int | None:
    """Where user, password and host begin; None for a file."""
    if careless := _NO_SLASHES.match(url):
        start = careless.end()
    elif (slashes := url.find("://")) >= 0:
        start = slashes + len("://")
    else:
        return None
    return None if url[:start].rstrip("/").lower() == "file:" else start


def _names_secret(text: str) -> bool:
    return any(_SECRET_KEYS.search(key) for key in re.findall(r"([^/&;?=]+)=", text))


def _host_and_port(authority: str) -> tuple[str, str | None]:
    if authority.startswith("["):
        host, _, rest = authority[1:].partition("]")
        return host, rest[1:] if rest.startswith(":") else None
    host, colon, port = authority.partition(":")
    return host, port if colon else None

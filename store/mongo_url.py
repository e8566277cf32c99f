"""Validation of MongoDB URLs, with errors that name the fault and contain no secret."""

import re
import ssl
import warnings
from pathlib import Path
from urllib.parse import unquote

from pymongo.errors import PyMongoError
from pymongo.uri_parser import parse_uri

from pipeline.base.files import read_regular
from pipeline.base.hosts import split_authority
from pipeline.base.urls import SplitUrl, UrlError, joined, split_url

SRV = "mongodb+srv://"
EXPECTED = "expected mongodb://host:port/?options or mongodb+srv://…, or nothing for a private mongod"
UNENCODED = (
    "percent-encode user and password (@ is %40, / is %2F, : is %3A, % is %25), or use store.user and "
    "store.password"
)
CERTIFICATES = {"tlscafile", "tlscertificatekeyfile", "tlscrlfile", "ssl_ca_certs", "ssl_certfile"}
"""Options that name a PEM file, in lower case."""
_OPTIONS = re.compile(r"[&;]")


def check_mongodb_url(url: str) -> None:
    """Parse a URL as the driver does, without a connection.

    Raises:
        ValueError: the driver would refuse it, or it names a file that cannot be used.
    """
    if not url.startswith(("mongodb://", SRV)):
        raise ValueError(EXPECTED)
    _check_login(url)
    _check_options(url)
    if url.startswith(SRV):  # the driver would look it up in DNS
        _check_srv_host(url)
    else:
        try:
            _parse(url)
        except (PyMongoError, ValueError, TypeError, UnicodeError):
            raise ValueError(f"{EXPECTED}{_advice(url)}") from None


def login_of(url: str) -> str | None:
    """The user name in the URL, or None."""
    try:
        return split_url(url).user
    except UrlError:
        return None


def _check_login(url: str) -> None:
    try:
        parts = split_url(url)
    except UrlError:
        raise ValueError(f"it is unclear where the password ends: {UNENCODED}") from None
    login = _raw_login(url, parts)
    if login.count(":") > 1 or re.search(r"[@/?#\[\]\s]|%(?![0-9A-Fa-f]{2})", login):
        raise ValueError(f"the login has characters with a meaning in URLs: {UNENCODED}")


def _raw_login(url: str, parts: SplitUrl) -> str:
    """User and password as they are written in the URL; "" without them."""
    public = joined(parts.public, parts.secret_end)
    start = url.index("://") + len("://")
    return url[start : start + len(url) - len(public)].removesuffix("@")


def _check_options(url: str) -> None:
    """Parse each option alone, to name the faulty one."""
    query = url.partition("://")[2].partition("?")[2]
    for option in filter(None, _OPTIONS.split(query)):
        name, equals, value = option.partition("=")
        shown = name if re.fullmatch(r"\w{1,60}", name) else "an option"
        if not equals:
            raise ValueError(f"{shown} has no value; options are written name=value, separated by &")
        if name.lower() in CERTIFICATES:
            _check_pem(shown, Path(unquote(value)), ca=name.lower() in ("tlscafile", "ssl_ca_certs"))
            continue
        try:
            _parse(f"mongodb://h/?{option}")
        except (PyMongoError, ValueError, TypeError, UnicodeError) as error:
            if not re.search(r"requires|must (also )?be (specified|set)|without", str(error)):
                raise ValueError(f"the driver refuses the value of the option {shown}") from None


def _check_pem(option: str, path: Path, *, ca: bool) -> None:
    try:
        text = read_regular(path)
        if ca:
            ssl.create_default_context(cafile=path)
        elif b"-----BEGIN" not in text:
            raise ssl.SSLError
    except ssl.SSLError:
        raise ValueError(f"{option}: {path} contains no certificate in PEM format") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no valid path"
        raise ValueError(f"{option}: {path} cannot be read ({reason})") from None


def _check_srv_host(url: str) -> None:
    authority = re.split(r"[/?]", url.removeprefix(SRV), maxsplit=1)[0]
    if split_authority(authority.rpartition("@")[2])[1] is not None:
        raise ValueError(f"{EXPECTED}; a mongodb+srv:// URL names one host without a port")


def _advice(url: str) -> str:
    return f"; {UNENCODED}" if "@" in url else ""


def _parse(url: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about unknown options
        parse_uri(url)

"""Parses and validates hosts and ports of URLs, by the rules of resolvers and sockets."""

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from pipeline.base.urls import UrlError

DEFAULT_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
"""By URL scheme."""

MAX_HOST_CHARACTERS = 253
LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
NUMBERS = re.compile(r"[0-9.]+")


def split_authority(authority: str) -> tuple[str, int | None]:
    """Host and port of `host`, `host:port` or `[IPv6]:port`, without user info.

    Raises UrlError if a resolver or a socket would refuse them.
    """
    if authority.startswith("["):
        host, bracket, rest = authority[1:].partition("]")
        if not bracket:
            raise UrlError("the URL's host has an opening bracket without a closing one")
        _check_ipv6(host)
        if rest and not rest.startswith(":"):
            raise UrlError("only a port may follow the closing bracket of the URL's host")
        return host, _port(rest[1:]) if rest else None
    host, colon, port = authority.partition(":")
    if ":" in port:
        raise UrlError("the URL's host has several colons; put an IPv6 address in brackets")
    check_host(host)
    return host, _port(port) if colon else None


def check_host(host: str) -> None:
    """Raises UrlError unless this is a host name, or an IPv4 or IPv6 address without brackets."""
    if ":" in host:
        _check_ipv6(host)
    elif not host:
        raise UrlError("the URL names no host")
    elif NUMBERS.fullmatch(host):
        _check_ipv4(host)
    else:
        _check_name(host)


def _check_ipv6(host: str) -> None:
    try:
        IPv6Address(host)
    except (AddressValueError, ValueError) as error:
        raise UrlError("the URL's host in brackets is not an IPv6 address") from error


def _check_ipv4(host: str) -> None:
    try:
        IPv4Address(host)
    except (AddressValueError, ValueError) as error:
        raise UrlError("the URL's host is not an IPv4 address of four numbers from 0 to 255") from error


def _check_name(host: str) -> None:
    try:
        name = host.removesuffix(".").encode("idna").decode("ascii")
    except UnicodeError as error:
        raise UrlError("the URL's host is not a host name: a label is empty, too long, or invalid") from error
    if len(name) > MAX_HOST_CHARACTERS:
        raise UrlError(
            f"the URL's host has {len(name)} characters; at most {MAX_HOST_CHARACTERS} are allowed"
        )
    if not all(LABEL.fullmatch(label) for label in name.split(".")):
        raise UrlError("the URL's host is not a host name of letters, digits and hyphens, separated by dots")


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 0 < int(text) < 65536:
        raise UrlError("the URL's port is not a number from 1 to 65535")
    return int(text)

"""Sends pictures to URLs outside the uploads, by HTTP PUT, to hosts that the settings allow.

Callers choose these URLs, so requests are protected against SSRF and DNS rebinding: the host must be allowed,
every address that its name resolves to is checked, and the connection uses a checked address.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from urllib.parse import SplitResult, urlsplit

from pipeline.base.hosts import DEFAULT_PORTS, split_authority
from pipeline.base.urls import UrlError, mask_url
from store.errors import BadValueError, PictureRefusedError, UploadError

SETTING = "uploads.thumbnail_hosts"
TIMEOUT_SECONDS = 20.0
"""Time limit of name resolution, connection, transfer and answer together."""
_SCHEMES = ("http", "https")

_NAT64 = ipaddress.ip_network("64:ff9b::/96")

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class AllowedHosts:
    """The hosts to which thumbnails may be sent."""

    names: frozenset[tuple[str, int | None]]
    """Host names and ports; port None means any."""
    networks: tuple[_Network, ...]

    @classmethod
    def parse(cls, entries: Sequence[str]) -> "AllowedHosts":
        """Entries are `host`, `host:port`, an IP address or a network such as `10.0.0.0/8`.

        ValueError names an invalid entry.
        """
        names, networks = set(), []
        for entry in entries:
            try:
                networks.append(ipaddress.ip_network(entry.strip("[]"), strict=False))
                continue
            except ValueError:
                pass
            try:
                host, port = split_authority(entry)
            except UrlError as error:
                shown = mask_url(entry)
                raise ValueError(f"{shown!r:.80} is not a host, host:port, IP address or network") from error
            names.add((host.lower(), port))
        return cls(frozenset(names), tuple(networks))

    def allows_name(self, host: str, port: int) -> bool:
        """Whether the host name is allowed."""
        return (host, port) in self.names or (host, None) in self.names

    def allows_address(self, address: _Address) -> bool:
        """Whether an entry names the address or its network."""
        return any(address in network for network in self.networks)


async def put(hosts: AllowedHosts, url: str, data: bytes, content_type: str) -> None:
    """Send the data to the URL by PUT. Redirects are not followed.

    Raises:
        BadValueError: the URL is malformed, or its host or an address of the host is not allowed.
        PictureRefusedError: the server refuses the data permanently.
        UploadError: the server cannot be reached in time, or fails.
    """
    parts = _check_url(url)
    host, port = str(parts.hostname), parts.port or DEFAULT_PORTS[parts.scheme]
    await asyncio.to_thread(import_module, "httpx")  # its first import is slow, so not on the event loop
    shown = mask_url(f"{parts.scheme}://{parts.netloc}{parts.path}")  # a query may contain a signature
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            address = await _resolve(hosts, host, port)
            status = await _send(parts, address, port, data, content_type)
    except TimeoutError as error:
        raise UploadError(
            f"{shown} did not answer within {TIMEOUT_SECONDS:.0f} s; try again later"
        ) from error
    except OSError as error:
        raise UploadError(f"{shown} cannot be reached ({error}); try again later") from error
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise PictureRefusedError(f"{shown} answers {status}; redirects are not followed, pass the final URL")
    if status >= 500 or status in (408, 425, 429):
        raise UploadError(f"{shown} answers {status}; try again later")
    raise PictureRefusedError(f"{shown} refuses the picture: {status}")


def _check_url(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in _SCHEMES and parts.hostname and parts.port != 0 and url.isprintable()
    except ValueError:
        usable = False
    if not usable or "\\" in url or " " in url:
        shown = mask_url(url)
        raise BadValueError(
            f"{shown!r:.200} is neither a URL of these uploads nor an http:// or https:// URL"
        )
    if parts.username is not None or parts.password is not None:
        raise BadValueError("the URL of a thumbnail must not contain user and password")
    try:
        split_authority(parts.netloc)
    except UrlError as error:
        raise BadValueError(f"a thumbnail's URL is refused: {error}") from error
    return parts


async def _resolve(hosts: AllowedHosts, host: str, port: int) -> str:
    """One address of the host. BadValueError unless all of them are allowed."""
    literal = _literal(host)
    if literal is not None:
        if hosts.allows_name(host, port) or hosts.allows_address(_embedded_ipv4(literal)):
            return str(literal)
        raise _refusal(f"the address {host}", host)
    if not hosts.allows_name(host, port):
        raise _refusal(f"the host {host}:{port}", host)
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [ipaddress.ip_address(str(one[4][0]).partition("%")[0]) for one in found]
    for address in map(_embedded_ipv4, addresses):
        if not hosts.allows_address(address) and (not address.is_global or address.is_multicast):
            raise _refusal(f"{address}, an address of {host} that is not public,", str(address))
    return str(addresses[0])


def _literal(host: str) -> _Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _embedded_ipv4(address: _Address) -> _Address:
    """The IPv4 address embedded in an IPv6 address, or the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address


def same_server(one: str, other: str) -> bool:
    """Whether two URLs have the same host and port."""
    try:
        first, second = ((urlsplit(url), DEFAULT_PORTS.get(urlsplit(url).scheme)) for url in (one, other))
        return (first[0].hostname, first[0].port or first[1]) == (
            second[0].hostname,
            second[0].port or second[1],
        )
    except ValueError:
        return False


def _refusal(what: str, entry: str) -> BadValueError:
    return BadValueError(
        f"this is not a URL of these uploads, and {what} is not allowed; to send thumbnails there, "
        f"add {entry!r} to {SETTING}"
    )


async def _send(parts: SplitResult, address: str, port: int, data: bytes, content_type: str) -> int:
    """The status code of the answer. Its body is not read."""
    import httpx  # imported here so that commands start faster

    host = f"[{address}]" if ":" in address else address
    target = parts._replace(netloc=f"{host}:{port}", fragment="").geturl()
    headers = {"Host": parts.netloc, "Content-Type": content_type}
    extensions = {"sni_hostname": str(parts.hostname)}
    try:
        async with (
            httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=TIMEOUT_SECONDS) as client,
            client.stream("PUT", target, content=data, headers=headers, extensions=extensions) as answer,
        ):
            return answer.status_code
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise OSError(str(error) or type(error).__name__) from error

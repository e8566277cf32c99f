"""Discovers ONVIF cameras on the local networks by WS-Discovery.

Uses the version of April 2005, which ONVIF requires; https://docs.oasis-open.org/ws-dd/discovery/1.1
describes a later one.
"""

import fcntl
import re
import selectors
import socket
import struct
import time
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

MULTICAST_GROUP, PORT = "239.255.255.250", 3702
PROBES = 3
"""Number of probes sent; datagrams may be lost."""
ANSWER_SECONDS = 1.5
"""Time to wait for answers after each probe."""
MAX_DATAGRAM_BYTES = 65_535
SIOCGIFADDR = 0x8915
"""ioctl that returns the IPv4 address of an interface: netdevice(7)."""

_PROBED_TYPES = ("", "dn:NetworkVideoTransmitter", "tds:Device")
"""Device types of the probes in turn. Some devices answer only a probe without a type, others only one with
their type."""
_PROBE = """<?xml version="1.0" encoding="UTF-8"?>
<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope"
 xmlns:w="http://schemas.xmlsoap.org/ws/2004/08/addressing"
 xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery"
 xmlns:dn="http://www.onvif.org/ver10/network/wsdl" xmlns:tds="http://www.onvif.org/ver10/device/wsdl">
<e:Header><w:MessageID>urn:uuid:{message}</w:MessageID>
<w:To e:mustUnderstand="true">urn:schemas-xmlsoap-org:ws:2005:04:discovery</w:To>
<w:Action e:mustUnderstand="true">http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe</w:Action></e:Header>
<e:Body><d:Probe>{types}</d:Probe></e:Body></e:Envelope>"""
_ONVIF = re.compile(r"NetworkVideoTransmitter|onvif", re.IGNORECASE)


def find_devices(
    addresses: Sequence[str] | None = None, probes: int = PROBES, answer_seconds: float = ANSWER_SECONDS
) -> list[tuple[str, ...]]:
    """Probe all networks; returns the service addresses of each ONVIF device that answers.

    `addresses`: IPv4 addresses of this machine from which to send. Default: those of all interfaces.

    Raises:
        OSError: no interface can send.
    """
    found: dict[str, tuple[str, ...]] = {}
    with ExitStack() as stack, selectors.DefaultSelector() as selector:
        local_addresses = interface_addresses() if addresses is None else addresses
        sockets = [stack.enter_context(opened) for opened in _open_sockets(local_addresses)]
        if not sockets:
            raise OSError("no network interface can send multicast messages")
        for sending in sockets:
            selector.register(sending, selectors.EVENT_READ)
        for number in range(probes):
            device_type = _PROBED_TYPES[number % len(_PROBED_TYPES)]
            types = f"<d:Types>{device_type}</d:Types>" if device_type else ""
            probe = _PROBE.format(message=uuid.uuid4(), types=types).encode()
            sent = [_send(sending, probe) for sending in sockets]
            if not any(sent) and number == probes - 1 and not found:
                raise OSError("no network interface can send multicast messages")
            deadline = time.monotonic() + answer_seconds
            while (remaining := deadline - time.monotonic()) > 0:
                for key, _ in selector.select(remaining):
                    assert isinstance(key.fileobj, socket.socket)  # noqa: S101  registered above
                    found |= dict(parse_answer(key.fileobj.recv(MAX_DATAGRAM_BYTES)))
    return sorted(dict.fromkeys(found.values()))


def parse_answer(answer: bytes) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Endpoint and service addresses of each ONVIF device in an answer. Yields nothing for invalid
    answers."""
    if b"<!DOCTYPE" in answer or b"<!ENTITY" in answer:  # no device sends these, and entities expand
        return
    try:
        root = ET.fromstring(answer.strip(b"\0 \r\n\t"))  # noqa: S314  see above
    except (ET.ParseError, ValueError, LookupError):
        return
    for match in root.iter():
        if _local_name(match) not in ("ProbeMatch", "ResolveMatch", "Hello"):
            continue
        texts = {_local_name(child): " ".join((child.text or "").split()) for child in match.iter()}
        services = tuple(
            url for url in texts.get("XAddrs", "").split() if url.startswith(("http://", "https://"))
        )
        description = " ".join((texts.get("Types", ""), texts.get("Scopes", ""), *services))
        if services and _ONVIF.search(description):
            yield texts.get("Address") or services[0], services


def interface_addresses() -> list[str]:
    """The IPv4 addresses of this machine's interfaces, loopback included (Linux)."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            try:
                answer = fcntl.ioctl(any_socket.fileno(), SIOCGIFADDR, request)
            except OSError:  # the interface has no IPv4 address
                continue
            found.append(socket.inet_ntoa(answer[20:24]))
    return found


def _open_sockets(addresses: Sequence[str]) -> Iterator[socket.socket]:
    """A socket for each local address; skips interfaces that are gone or cannot send multicast."""
    for address in addresses:
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        opened.setblocking(False)
        try:
            opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
            opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
            opened.bind((address, 0))
        except OSError:
            opened.close()
            continue
        yield opened


def _send(sending: socket.socket, probe: bytes) -> bool:
    """Send a probe; returns whether the interface has a route to the multicast group."""
    try:
        sending.sendto(probe, (MULTICAST_GROUP, PORT))
    except OSError:
        return False
    return True


def _local_name(element: ET.Element) -> str:
    """Name of an element without its namespace; "" for a comment."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""

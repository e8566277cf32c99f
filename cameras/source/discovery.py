"""Finds ONVIF cameras on the local networks by WS-Discovery.

https://docs.oasis-open.org/ws-dd/discovery/1.1, in the version of April 2005 that ONVIF prescribes.
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

GROUP, PORT = "239.255.255.250", 3702
TRIES, ANSWER_SECONDS = 3, 1.5
"""Datagrams get lost: number of questions, and how long to wait for answers after each."""
MAX_DATAGRAM = 65_535
SIOCGIFADDR = 0x8915
"""ioctl that returns the IPv4 address of an interface: netdevice(7)."""

_TYPES = ("", "dn:NetworkVideoTransmitter", "tds:Device")
"""What is asked for: anything, since some devices ignore types, and what others insist on."""
_PROBE = """<?xml version="1.0" encoding="UTF-8"?>
<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope"
 xmlns:w="http://schemas.xmlsoap.org/ws/2004/08/addressing"
 xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery"
 xmlns:dn="http://www.onvif.org/ver10/network/wsdl" xmlns:tds="http://www.onvif.org/ver10/device/wsdl">
<e:Header><w:MessageID>urn:uuid:{message}</w:MessageID>
<w:To e:mustUnderstand="true">urn:schemas-xmlsoap-org:ws:2005:04:discovery</w:To>
<w:Action e:mustUnderstand="true">http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe</w:Action></e:Header>
<e:Body><d:Probe>{types}</d:Probe></e:Body></e:Envelope>"""
_CAMERA = re.compile(r"NetworkVideoTransmitter|onvif", re.IGNORECASE)


def find_devices(
    addresses: Sequence[str] | None = None, tries: int = TRIES, answer_seconds: float = ANSWER_SECONDS
) -> list[tuple[str, ...]]:
    """The service addresses of each ONVIF device that answers, asked on every interface.

    `addresses`: own IPv4 addresses to ask from. Default: those of all interfaces.

    Raises:
        OSError: no interface can send.
    """
    found: dict[str, tuple[str, ...]] = {}
    with ExitStack() as stack, selectors.DefaultSelector() as selector:
        sockets = [
            stack.enter_context(one) for one in _sockets(interfaces() if addresses is None else addresses)
        ]
        if not sockets:
            raise OSError("no network interface can send multicast messages")
        for one in sockets:
            selector.register(one, selectors.EVENT_READ)
        for attempt in range(tries):
            types = _TYPES[attempt % len(_TYPES)]
            question = _PROBE.format(
                message=uuid.uuid4(), types=f"<d:Types>{types}</d:Types>" if types else ""
            ).encode()
            sent = [_sent(one, question) for one in sockets]
            if not any(sent) and attempt == tries - 1 and not found:
                raise OSError("no network interface can send multicast messages")
            deadline = time.monotonic() + answer_seconds
            while (left := deadline - time.monotonic()) > 0:
                for key, _ in selector.select(left):
                    assert isinstance(key.fileobj, socket.socket)  # noqa: S101  registered above
                    found |= dict(matches(key.fileobj.recv(MAX_DATAGRAM)))
    return sorted(dict.fromkeys(found.values()))


def matches(answer: bytes) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Endpoint and service addresses of the ONVIF devices in an answer; nothing for other answers."""
    if b"<!DOCTYPE" in answer or b"<!ENTITY" in answer:  # no device sends these, and entities expand
        return
    try:
        root = ET.fromstring(answer.strip(b"\0 \r\n\t"))  # noqa: S314  see above
    except (ET.ParseError, ValueError, LookupError):
        return
    for match in root.iter():
        if _local(match) not in ("ProbeMatch", "ResolveMatch", "Hello"):
            continue
        texts = {_local(part): " ".join((part.text or "").split()) for part in match.iter()}
        services = tuple(
            url for url in texts.get("XAddrs", "").split() if url.startswith(("http://", "https://"))
        )
        said = " ".join((texts.get("Types", ""), texts.get("Scopes", ""), *services))
        if services and _CAMERA.search(said):
            yield texts.get("Address") or services[0], services


def interfaces() -> list[str]:
    """The IPv4 addresses of this machine's interfaces, loopback included (Linux)."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            try:
                answer = fcntl.ioctl(asking.fileno(), SIOCGIFADDR, request)
            except OSError:  # it has no IPv4 address
                continue
            found.append(socket.inet_ntoa(answer[20:24]))
    return found


def _sockets(addresses: Sequence[str]) -> Iterator[socket.socket]:
    for address in addresses:
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.setblocking(False)
        try:
            one.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
            one.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
            one.bind((address, 0))
        except OSError:  # the interface went away, or has no multicast
            one.close()
            continue
        yield one


def _sent(one: socket.socket, question: bytes) -> bool:
    try:
        one.sendto(question, (GROUP, PORT))
    except OSError:  # no route on this interface
        return False
    return True


def _local(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""

"""Limits the number of HTTP connections and the time that each may keep the daemon waiting.

uvicorn has deadlines for idle connections only. A subclass replaces its protocol, and a registry of the
connections checks once a second that each makes progress.
"""

import asyncio
import contextlib
import resource
import time
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Any, Protocol

import h11
import structlog
from uvicorn.protocols.http.h11_impl import H11Protocol

from daemon.runtime.metrics import ConnectionEnd

log = structlog.get_logger(__name__)

CHECK_SECONDS = 1.0
CALM_SECONDS = 10.0
"""Time without a refused or evicted connection after which the log reports the end of the shortage."""
DESCRIPTORS_PER_CONNECTION = 4
"""Connections use at most a fourth of the file descriptors; the rest is for cameras and the store."""
MIN_CONNECTIONS = 16

BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 5\r\n"
    b"content-type: text/plain; charset=utf-8\r\ncontent-length: 21\r\n\r\ntoo many connections\n"
)
TOO_SLOW = (
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n"
    b"content-type: text/plain; charset=utf-8\r\ncontent-length: 33\r\n\r\nthe request did not come in time\n"
)


class ConnectionObserver(Protocol):
    def connection_ended(self, reason: ConnectionEnd) -> None: ...


class UnobservedConnections:
    def connection_ended(self, reason: ConnectionEnd) -> None:
        """Does nothing."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    connections: int = 256
    per_client: int = 64
    """Limit for one IPv4 address, or one IPv6 /64 network."""
    request_seconds: float = 10.0
    """Timeout of a request's head, and of the rest of an unread body."""
    write_seconds: float = 30.0
    """Timeout for the client to read the send buffer, at most 64 KiB."""

    @property
    def affordable(self) -> int:
        """`connections`, or fewer if the limit of file descriptors is low."""
        descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if descriptors == resource.RLIM_INFINITY:
            return self.connections
        return min(self.connections, max(MIN_CONNECTIONS, descriptors // DESCRIPTORS_PER_CONNECTION))


class Connections:
    """The open connections of one server. Methods are called on its event loop."""

    def __init__(self, limits: ConnectionLimits, observer: ConnectionObserver | None = None) -> None:
        self._limits = limits
        self._max = limits.affordable
        self._observer = observer or UnobservedConnections()
        self._by_client: dict[str, set[Connection]] = {}
        self._check: asyncio.TimerHandle | None = None
        self._full_at: float | None = None
        """Time of the last refused or evicted connection; None after `CALM_SECONDS`."""

    def __len__(self) -> int:
        return sum(map(len, self._by_client.values()))

    def admit(self, connection: "Connection") -> bool:
        """Register the connection. At the limit, one without a request in progress is evicted for it."""
        own = self._by_client.get(connection.client_key, set())
        if len(own) >= self._limits.per_client:
            admitted = self._evict(own)
        elif len(self) >= self._max:
            admitted = self._evict(max(self._by_client.values(), key=_number_waiting))
        else:
            admitted = True
        if admitted:
            self._by_client.setdefault(connection.client_key, set()).add(connection)
            self._schedule()
        else:
            self.ended("refused")
        return admitted

    def remove(self, connection: "Connection") -> None:
        own = self._by_client.get(connection.client_key, set())
        own.discard(connection)
        if not own:
            self._by_client.pop(connection.client_key, None)

    def ended(self, reason: ConnectionEnd) -> None:
        self._observer.connection_ended(reason)
        if reason not in ("refused", "evicted"):
            return
        if self._full_at is None:
            log.warning(
                "too many HTTP connections: idle and unfinished ones give way to new ones",
                connections=len(self),
                max_connections=self._max,
                max_per_client=self._limits.per_client,
            )
        self._full_at = time.monotonic()

    def _evict(self, candidates: "set[Connection]") -> bool:
        waiting = [one for one in candidates if one.waits_for_request]
        if not waiting:
            return False
        oldest = min(waiting, key=lambda one: one.waiting_since)
        self.remove(oldest)
        self.ended("evicted")
        oldest.transport.abort()
        return True

    def _schedule(self) -> None:
        if self._check is None:
            self._check = asyncio.get_running_loop().call_later(CHECK_SECONDS, self._check_all)

    def _check_all(self) -> None:
        self._check = None
        now = time.monotonic()
        for connection in [one for own in self._by_client.values() for one in own]:
            if (reason := connection.overdue(now, self._limits)) is not None:
                self.ended(reason)
                connection.give_up()
        if self._full_at is not None and now - self._full_at > CALM_SECONDS:
            self._full_at = None
            log.info("HTTP connections are available again", connections=len(self))
        if self._by_client or self._full_at is not None:
            self._schedule()


def _number_waiting(connections: "set[Connection]") -> int:
    return sum(one.waits_for_request for one in connections)


class Connection(H11Protocol):
    """One connection. `registry` is set by the subclass that `protocol_for` makes."""

    registry: Connections

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - as uvicorn calls it
        super().__init__(*arguments, **options)
        self.client_key = ""
        self.waiting_since = time.monotonic()
        """When the connection was opened, or the last response completed."""
        self._head_since: float | None = self.waiting_since
        """When the pending request head began; None between requests."""
        self._write_paused_since: float | None = None
        self._closing_since: float | None = None
        self._refused = False

    @property
    def waits_for_request(self) -> bool:
        """No request is in progress: its head is incomplete, or the last response is complete."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        self.transport = transport
        self.client_key = _client_key(transport.get_extra_info("peername"))
        if self.registry.admit(self):
            super().connection_made(transport)
        else:
            self._refused = True
            transport.write(BUSY)
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.registry.remove(self)
        if not self._refused:
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused or self.transport.is_closing():
            return
        if self._head_since is None and self.waits_for_request:
            self._head_since = time.monotonic()
        super().data_received(data)
        if not self.waits_for_request:
            self._head_since = None

    def on_response_complete(self) -> None:
        self.waiting_since = time.monotonic()
        super().on_response_complete()
        unread, _ = self.conn.trailing_data
        begun = unread or self.conn.their_state is h11.SEND_BODY
        self._head_since = self.waiting_since if self.waits_for_request and begun else None

    def pause_writing(self) -> None:
        self._write_paused_since = time.monotonic()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._write_paused_since = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:  # a response is in progress or complete
            self.transport.close()

    def shutdown(self) -> None:
        with contextlib.suppress(h11.LocalProtocolError):  # its last request was not HTTP
            super().shutdown()
        if self.waits_for_request:
            self.transport.close()

    def overdue(self, now: float, limits: ConnectionLimits) -> ConnectionEnd | None:
        """Why the connection must be closed; None if it need not."""
        if self.transport.is_closing():
            self._closing_since = self._closing_since or now
            return "slow_reader" if now - self._closing_since > limits.write_seconds else None
        if self._write_paused_since is not None and now - self._write_paused_since > limits.write_seconds:
            return "slow_reader"
        if self._head_since is not None and now - self._head_since > limits.request_seconds:
            return "slow_request"
        return None

    def give_up(self) -> None:
        """Close the connection, with a response if possible."""
        if self.waits_for_request and self.conn.our_state is h11.IDLE and not self.transport.is_closing():
            self.transport.write(TOO_SLOW)
            self.transport.close()
        else:
            self.transport.abort()


def protocol_for(connections: Connections) -> type[Connection]:
    """The protocol class of a server with these connections."""
    return type("BoundConnection", (Connection,), {"registry": connections})


def raise_descriptor_limit() -> None:
    """Raise the soft limit of file descriptors to the hard one; 1024 are too few for many cameras."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):  # the limit stays
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _client_key(peer: object) -> str:
    host = str(peer[0]) if isinstance(peer, tuple) and peer else ""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Address(int(address) >> 64 << 64)) if not address.is_loopback else host

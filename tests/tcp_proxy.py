"""A TCP proxy on 127.0.0.1 that disturbs connections: delays, freezes, closes, throttles, drops and corrupts.

The stream of an RTSP server over TCP is split into RTP packets (RFC 2326, 10.12), so that a packet can be
dropped or altered while the framing stays valid, as after a bad radio link or with a faulty camera.
"""

import contextlib
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

CHUNK_BYTES = 16384
LOOK_SECONDS = 0.05
INTERLEAVED = ord("$")
LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")

Spoil = Callable[[bytearray], bytes | bytearray | None]
"""Changes an RTP packet (without its interleaved header); None drops it. RTCP is not changed."""


class TcpProxy:
    """The running proxy. Attributes may be set at any time, and apply to open connections too.

    With `listening=False` the port refuses connections until `listen` is called.
    """

    def __init__(self, target_port: int, *, listening: bool = True) -> None:
        self.delay_seconds = 0.0
        """Minimum delay of all data."""
        self.bytes_per_second: float | None = None
        self.spoil: Spoil | None = None
        self.accepted = 0
        """Connections so far."""
        self._target = ("127.0.0.1", target_port)
        self._flowing = threading.Event()
        self._flowing.set()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._forgotten: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._listener: socket.socket | None = None
        if listening:
            self.listen()

    def listen(self) -> None:
        """Accepts connections, always on the same port."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen()
        self._listener = listener
        self._start(self._accept, listener)

    def refuse(self) -> None:
        """Stops listening, and closes open connections."""
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        self.cut()

    def cut(self) -> None:
        """Closes all open connections; new ones are accepted."""
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):  # the other side may have ended it
                    connection.shutdown(socket.SHUT_RDWR)

    def freeze(self) -> None:
        """Connections stay open and new ones are accepted, but no data is forwarded."""
        self._flowing.clear()

    def thaw(self) -> None:
        self._flowing.set()

    def forget(self) -> None:
        """Forwards nothing more on open connections, but on new ones, as with a camera that was restarted
        behind a router."""
        with self._lock:
            self._forgotten |= self._open
        self.thaw()

    def close(self) -> None:
        """Ends the proxy and its threads."""
        self.refuse()
        self.thaw()
        for thread in self._threads:
            thread.join(5)

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, name="tcp proxy", daemon=True)
        with self._lock:
            self._threads = [one for one in self._threads if one.is_alive()] + [thread]
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self.accepted += 1
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._target, timeout=5)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        with self._lock:
            self._open |= {client, server}
        upwards = threading.Thread(target=self._pump, args=(client, server, False), name="tcp proxy")
        upwards.start()
        self._pump(server, client, True)
        upwards.join()
        with self._lock:
            self._open -= {client, server}
            self._forgotten -= {client, server}
        client.close()
        server.close()

    def _pump(self, source: socket.socket, target: socket.socket, downwards: bool) -> None:
        waiting = bytearray()
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK_BYTES):
                while not self._passes(source):
                    if self._cut(source):
                        break
                if self.delay_seconds:
                    time.sleep(self.delay_seconds)
                self._throttle(len(data))
                if downwards:
                    waiting += data
                    data = b"".join(self._spoiled(part) for part in messages(waiting))
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _passes(self, source: socket.socket) -> bool:
        if self._flowing.wait(LOOK_SECONDS) and source not in self._forgotten:
            return True
        time.sleep(LOOK_SECONDS if source in self._forgotten else 0)
        return False

    def _throttle(self, size: int) -> None:
        """Waits for the transfer time of the bytes; a changed rate takes effect at once."""
        began = time.monotonic()
        while (rate := self.bytes_per_second) and time.monotonic() - began < size / rate:
            time.sleep(LOOK_SECONDS)

    def _cut(self, connection: socket.socket) -> bool:
        with contextlib.suppress(OSError):
            connection.getpeername()
            return False
        return True

    def _spoiled(self, message: bytes) -> bytes:
        spoil = self.spoil
        if spoil is None or message[0] != INTERLEAVED or message[1] % 2:
            return message
        packet = spoil(bytearray(message[4:]))
        return b"" if packet is None else message[:2] + len(packet).to_bytes(2, "big") + packet


def messages(buffer: bytearray) -> Iterator[bytes]:
    """Takes whole RTSP messages and interleaved packets from the front of the buffer."""
    while buffer:
        if buffer[0] == INTERLEAVED:
            size = 4 + int.from_bytes(buffer[2:4], "big") if len(buffer) >= 4 else 4
        else:
            end = buffer.find(b"\r\n\r\n")
            body = LENGTH.search(buffer, 0, max(0, end))
            size = end + 4 + (int(body[1]) if body else 0) if end >= 0 else len(buffer) + 1
        if len(buffer) < size:
            return
        yield bytes(buffer[:size])
        del buffer[:size]


@contextmanager
def tcp_proxy(target_port: int, *, listening: bool = True) -> Iterator[TcpProxy]:
    """A proxy to that port of 127.0.0.1."""
    proxy = TcpProxy(target_port, listening=listening)
    try:
        yield proxy
    finally:
        proxy.close()

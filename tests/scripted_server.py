"""A TCP server for scripted answers: accepts connections, each served by its own thread."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar


@dataclass
class ScriptedServer:
    """The running server. Subclasses implement `serve`."""

    listener: socket.socket = field(
        kw_only=True, default_factory=lambda: socket.create_server(("127.0.0.1", 0))
    )
    connected_at: list[float] = field(kw_only=True, default_factory=list)
    """Monotonic time of each connection."""
    open: bool = field(kw_only=True, default=True)

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    def serve(self, connection: socket.socket) -> None:
        """Answer the requests of a connection, until it ends."""
        raise NotImplementedError

    def accept(self) -> None:
        """Accept connections until the listener is closed."""
        while self.open:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connected_at.append(time.monotonic())
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()


Server = TypeVar("Server", bound=ScriptedServer)


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """Accept connections until the end of the block."""
    threading.Thread(target=server.accept, daemon=True).start()
    try:
        yield server
    finally:
        server.open = False
        server.listener.close()

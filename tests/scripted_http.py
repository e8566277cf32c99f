"""A web server whose answers a test writes byte by byte."""

import io
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from PIL import Image


def jpeg(number: int, size: tuple[int, int] = (160, 120)) -> bytes:
    """A picture of one colour."""
    made = io.BytesIO()
    Image.new("RGB", size, (number * 20 % 255, 80, 80)).save(made, "JPEG")
    return made.getvalue()


@dataclass(frozen=True)
class HttpRequest:
    path: str
    headers: dict[str, str]
    """Names in lower case."""


Handler = Callable[[HttpRequest], Sequence[bytes]]
"""The bytes to send, with a short pause between two; an empty one closes the connection."""


def answer(body: bytes = b"", status: str = "200 OK", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass
class ScriptedHttp:
    handler: Handler
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    requests: list[HttpRequest] = field(default_factory=list)
    connected_at: list[float] = field(default_factory=list)
    """Monotonic time of each connection."""

    def url(self, path: str = "picture", login: str = "") -> str:
        return f"http://{login}127.0.0.1:{self.listener.getsockname()[1]}/{path}"

    def accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connected_at.append(time.monotonic())
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        buffer = b""
        with connection:
            try:
                while data := connection.recv(4096):
                    buffer += data
                    while b"\r\n\r\n" in buffer:
                        head, buffer = buffer.split(b"\r\n\r\n", 1)
                        start, *lines = head.decode("latin-1").split("\r\n")
                        pairs = [line.partition(":") for line in lines]
                        headers = {name.lower(): value.strip() for name, _, value in pairs}
                        request = HttpRequest(start.split(" ")[1], headers)
                        self.requests.append(request)
                        for part in self.handler(request):
                            if not part:
                                return
                            connection.sendall(part)
                            time.sleep(0.02)
            except OSError:
                return


@contextmanager
def scripted_http(handler: Handler) -> Iterator[ScriptedHttp]:
    server = ScriptedHttp(handler)
    threading.Thread(target=server.accept, daemon=True).start()
    try:
        yield server
    finally:
        server.listener.close()

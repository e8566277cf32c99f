"""A web server whose answers a test defines byte by byte."""

import io
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from PIL import Image

from tests.scripted_server import ScriptedServer, running


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
"""Returns the parts of the response, sent with short pauses; an empty part closes the connection."""


def answer(body: bytes = b"", status: str = "200 OK", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass
class ScriptedHttp(ScriptedServer):
    handler: Handler
    requests: list[HttpRequest] = field(default_factory=list)

    def url(self, path: str = "picture", login: str = "") -> str:
        return f"http://{login}127.0.0.1:{self.port}/{path}"

    def serve(self, connection: socket.socket) -> None:
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


def scripted_http(handler: Handler) -> AbstractContextManager[ScriptedHttp]:
    return running(ScriptedHttp(handler))

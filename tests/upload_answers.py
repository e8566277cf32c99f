"""A real HTTP upload server whose answers a test can choose."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from store.uploads.marker import MARKER

Answer = tuple[int, Mapping[str, str]]
STORED: Answer = (201, {})


class AnsweringServer:
    """An upload server. `answer` returns the answer to the PUT of a picture, by its path and body."""

    def __init__(self, *, takes_marker: bool = True) -> None:
        self.takes_marker = takes_marker
        """Whether the file with the location's id is always stored, without `answer`."""
        self.marker: bytes | None = None
        self.files: dict[str, bytes] = {}
        self.answer: Callable[[str, bytes], Answer] = lambda path, body: STORED
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"uploads": self}))
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    uploads: AnsweringServer
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.uploads.takes_marker and self.path == f"/{MARKER}":
            self.uploads.marker = body
            self._reply(*STORED)
            return
        status, headers = self.uploads.answer(self.path, body)
        if (status, headers) == STORED:
            self.uploads.files[self.path] = body
        self._reply(status, headers)

    def do_MKCOL(self) -> None:
        self._reply(405, {})

    def do_GET(self) -> None:
        content = self.uploads.marker if self.path == f"/{MARKER}" else self.uploads.files.get(self.path)
        self._reply(404 if content is None else 200, {}, content or b"")

    def do_HEAD(self) -> None:
        self._reply(200 if self.path in self.uploads.files else 404, {})

    def do_DELETE(self) -> None:
        self._reply(204 if self.uploads.files.pop(self.path, None) is not None else 404, {})

    def _reply(self, status: int, headers: Mapping[str, str], content: bytes = b"") -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def answering_server() -> Iterator[AnsweringServer]:
    """A running server."""
    server = AnsweringServer()
    server.start()
    try:
        yield server
    finally:
        server.stop()

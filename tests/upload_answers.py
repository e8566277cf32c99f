"""A real HTTP server that stores what is put there, or answers as a test wants."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = tuple[int, Mapping[str, str]]
STORED: Answer = (201, {})


class AnsweringServer:
    """An upload server. `answer` decides about each PUT, by its path and body."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.puts: list[str] = []
        self.answer: Callable[[str, bytes], Answer] = lambda path, body: STORED
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(server: AnsweringServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1
        disable_nagle_algorithm = True

        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            server.puts.append(self.path)
            status, headers = server.answer(self.path, body)
            if (status, headers) == STORED:
                server.files[self.path] = body
            self._reply(status, headers)

        def do_MKCOL(self) -> None:
            self._reply(405, {})

        def do_HEAD(self) -> None:
            self._reply(200 if self.path in server.files else 404, {})

        def do_DELETE(self) -> None:
            self._reply(204 if server.files.pop(self.path, None) is not None else 404, {})

        def _reply(self, status: int, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    return Handler


@contextmanager
def answering_server() -> Iterator[AnsweringServer]:
    """A running server."""
    server = AnsweringServer()
    server.start()
    try:
        yield server
    finally:
        server.stop()

"""A real web server that receives webhooks."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, dict[str, str]]
"""Status and headers."""


class WebhookReceiver:
    """Keeps each request. `answer(number)` returns the answer to request `number`, from 0."""

    def __init__(self, answer: Callable[[int], Answer] = lambda _: (204, {}), port: int = 0) -> None:
        self.answer = answer
        self.delay_seconds = 0.0
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.at: list[float] = []
        """When each request came, by the monotonic clock."""
        self.paths: list[str] = []
        """Path and query of each request."""
        self.taken: list[int] = []
        """The numbers of the requests that were answered with success."""
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with receiver._lock:
                    number = len(receiver.got)
                    receiver.got.append(({k.lower(): v for k, v in self.headers.items()}, body))
                    receiver.at.append(time.monotonic())
                    receiver.paths.append(self.path)
                time.sleep(receiver.delay_seconds)
                status, headers = receiver.answer(number)
                if status < 300:
                    receiver.taken.append(number)
                self.send_response(status)
                for name, value in {"Content-Length": "0", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/hooks/secret-path"

    def accepted(self) -> list[tuple[dict[str, str], bytes]]:
        """The requests that were answered with success."""
        return [self.got[number] for number in sorted(self.taken)]


@contextmanager
def receiving(
    answer: Callable[[int], Answer] = lambda _: (204, {}), port: int = 0
) -> Iterator[WebhookReceiver]:
    """A receiver that listens until the end of the block."""
    receiver = WebhookReceiver(answer, port)
    thread = threading.Thread(target=receiver.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.server.shutdown()
        thread.join()
        receiver.server.server_close()

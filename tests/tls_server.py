"""TLS in front of a plain server on 127.0.0.1, with valid and invalid certificates."""

import contextlib
import functools
import http.server
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme


class Authority:
    """A certificate authority for tests, and server certificates that it has issued."""

    def __init__(self, folder: Path) -> None:
        self._ca = trustme.CA()
        self.file = folder / "authority.pem"
        self._ca.cert_pem.write_to_path(self.file)
        trustme.CA().cert_pem.write_to_path(folder / "another.pem")
        self.another_file = folder / "another.pem"
        yesterday = datetime.now(UTC) - timedelta(days=1)
        self.good = self._ca.issue_cert("127.0.0.1", "localhost")
        self.of_another_host = self._ca.issue_cert("camera.example")
        self.expired = self._ca.issue_cert(
            "127.0.0.1", not_before=yesterday - timedelta(days=9), not_after=yesterday
        )


@contextmanager
def tls_server(certificate: trustme.LeafCert, target_port: int) -> Iterator[int]:
    """The port of a TLS server that forwards to the plain server on `target_port`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    listener = socket.create_server(("127.0.0.1", 0))

    def forward(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def serve(accepted: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            outside = stack.enter_context(context.wrap_socket(accepted, server_side=True))
            inside = stack.enter_context(socket.create_connection(("127.0.0.1", target_port)))
            back = threading.Thread(target=forward, args=(inside, outside), daemon=True)
            back.start()
            forward(outside, inside)
            back.join()

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                accepted, _ = listener.accept()
                threading.Thread(target=serve, args=(accepted,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


class _Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Requests are not logged."""


@contextmanager
def file_server(folder: Path) -> Iterator[int]:
    """The port of a web server of this folder."""
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(_Files, directory=str(folder))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()

"""Requests of commands to the running daemon."""

import socket
import threading
from contextlib import contextmanager

import pytest

from daemon.config.settings import HttpSettings, Settings
from daemon.errors import StartError
from daemon.http import client as daemon_client
from daemon.http.client import NoAnswerError


@contextmanager
def answering(answer: bytes):
    """Settings of a daemon on whose port something gives this answer, whatever it is asked."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield Settings(http=HttpSettings(port=listener.getsockname()[1]))
        thread.join()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not answer"),
        (b"", "does not answer"),
        (HEAD + b"\r\n{not json", "does not answer"),
        (HEAD + b"\r\n[]", "another program"),
        (HEAD + b'\r\n{"status": "success"}', "another program"),
        (HEAD + b'\r\n{"cameras": [], "store": {}, "spool": {}, "jobs": {}}', "another program or version"),
    ],
)
def test_another_program_on_the_port_is_not_the_daemon(answer, said):
    """Any answer gives an error of one line, not a traceback."""
    with answering(answer) as settings, pytest.raises(NoAnswerError, match=said):
        daemon_client.status(settings)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunks(*lines: bytes) -> bytes:
    return CHUNKED + b"".join(b"%x\r\n%s\n\r\n" % (len(line) + 1, line) for line in lines)


def test_a_check_whose_daemon_ends_is_told():
    """The connection breaks in the middle of a chunk."""
    broken = CHUNKED + b'40\r\n{"kind'
    with answering(broken) as settings, pytest.raises(StartError, match="ended during the check"):
        list(daemon_client.findings(settings, "token", repair=False, grace_seconds=0))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (CHUNKED + b'40\r\n{"done', "ended during the rebuild"),
        (chunks(b'{"done": 1, "of": 3}'), "ended during the rebuild"),
        (chunks(b'{"done": 1, "of": 3}') + b"0\r\n\r\n", "ended during the rebuild"),
        (chunks(b'{"done": 1, "of": 3}', b'{"error": "shard 2 is out"}'), "store: shard 2 is out"),
    ],
)
def test_a_rebuild_that_does_not_come_to_its_end_is_told(answer, said):
    """The daemon ends, or reports an error; progress up to then was reported."""
    told = []
    with answering(answer) as settings, pytest.raises(StartError, match=said):
        daemon_client.rebuild(settings, "token", lambda done, of: told.append((done, of)))
    assert told in ([], [(1, 3)])


def test_a_rebuild_that_was_not_begun_is_told():
    """With the daemon's reason."""
    refused = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 9\r\n\r\nnot you!\n"
    with answering(refused) as settings, pytest.raises(NoAnswerError, match="refuses the rebuild: not you!"):
        daemon_client.rebuild(settings, "token", print)

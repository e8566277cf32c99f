"""Cameras whose server is missing, silent or invalid, and recordings on a web server."""

import http.server
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from cameras.errors import Reason, SourceError
from cameras.observer import CameraState
from cameras.settings import CameraSettings
from cameras.source.ffmpeg import FFmpegSource
from tests.integration.cameras.conftest import Camera

Start = Callable[..., Camera]


def listener() -> socket.socket:
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen(5)
    return server


@pytest.fixture
def silent() -> Iterator[int]:
    """Port of a server that accepts connections and sends nothing."""
    with closing(listener()) as server:
        yield server.getsockname()[1]


@pytest.fixture
def nonsense() -> Iterator[int]:
    """Port of a server that answers with invalid data."""
    server = listener()

    def answer() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.recv(1000)
                connection.sendall(b"\x00\x01 what?\r\n\r\n" * 20)

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(5)


def failure(url: str, **given: object) -> SourceError:
    settings = CameraSettings.model_validate({"id": "x", "url": url, "connect_timeout_seconds": 1, **given})
    with pytest.raises(SourceError) as caught:
        FFmpegSource(settings)
    return caught.value


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_each_network_fault_has_its_reason_and_hides_the_password(
    scheme: str, silent: int, nonsense: int
) -> None:
    """Connection refused, unknown host, no answer, invalid answer. The traceback does not contain the
    password either."""
    with closing(listener()) as gone:
        free = gone.getsockname()[1]
    reasons = {}
    for name, place in {
        "nobody": f"127.0.0.1:{free}",
        "name": "no-such-host.invalid",
        "silent": f"127.0.0.1:{silent}",
        "nonsense": f"127.0.0.1:{nonsense}",
    }.items():
        error = failure(f"{scheme}://cam:s3cr3t@{place}/live")
        reasons[name] = error.reason
        shown = "".join(traceback.format_exception(error)) + repr(error) + repr(error.__context__)
        assert "s3cr3t" not in shown
        assert str(error).startswith(f"{scheme}://***@{place}/live: ")
    assert reasons == {
        "nobody": Reason.REFUSED,
        "name": Reason.DNS,
        "silent": Reason.TIMEOUT,
        "nonsense": Reason.BROKEN,
    }


def test_a_refused_connection_is_red_and_retried(start: Start) -> None:
    """With pauses between the attempts."""
    with closing(listener()) as gone:
        port = gone.getsockname()[1]
    camera = start(f"rtsp://127.0.0.1:{port}/live")
    status = camera.wait_for(lambda status: status.state is CameraState.RED, 3)
    assert status.reason == "refused"
    camera.wait_for(lambda status: status.reconnects >= 2, 5)
    assert camera.handler.status.reconnects < 10


def test_stop_does_not_wait_for_a_hanging_connection_attempt(start: Start, silent: int) -> None:
    """The camera is yellow while it connects."""
    camera = start(f"rtsp://127.0.0.1:{silent}/live", connect_timeout_seconds=3)
    assert camera.handler.status.reason == "connecting"
    time.sleep(0.3)
    began = time.monotonic()
    assert camera.handler.stop(timeout=0.5) is False
    assert time.monotonic() - began < 1
    assert camera.handler.join(5)
    assert camera.states[-1] == "grey:stopped"


@pytest.fixture
def web(clip: Path) -> Iterator[int]:
    """Port of a web server with the clip's folder."""
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(clip.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_a_recording_on_a_web_server_plays_like_a_file(start: Start, web: int, clip: Path) -> None:
    """It is played to its end; a missing path is not found."""
    camera = start(f"http://127.0.0.1:{web}/{clip.name}", speed="fast")
    missing = start(f"http://127.0.0.1:{web}/attic.mp4")
    missing.wait_for(lambda status: status.state is CameraState.RED and status.reason == "not_found", 5)
    taken = 0
    while not (camera.slot.closed and camera.slot.waiting == 0):
        camera.filled.wait(5)
        camera.filled.clear()
        while camera.slot.take() is not None:
            taken += 1
    assert taken == 101
    assert camera.handler.status.reason == "ended"

"""Cameras with a real RTSP server."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from cameras.errors import Reason, SourceError
from cameras.latest_frame import EndOfStream
from cameras.observer import CameraState
from cameras.settings import CameraSettings
from cameras.source.probe import probe
from pipeline.types import Frame
from tests.clips import number_of
from tests.integration.cameras.conftest import Camera
from tests.rtsp import RtspServer, rtsp_server

GREEN, YELLOW, RED = CameraState.GREEN, CameraState.YELLOW, CameraState.RED
PASSWORD = "s3cr3t:@/"  # noqa: S105 - the test server's
LOGIN = "cam:s3cr3t%3A%40%2F"
Start = Callable[..., Camera]


@pytest.fixture(scope="module")
def server(clip: Path) -> Iterator[RtspServer]:
    """Without a login; no test kills it."""
    with rtsp_server({"hall": clip}) as running:
        yield running


@pytest.fixture
def mortal(clip: Path) -> Iterator[RtspServer]:
    """A server that a test may freeze and kill."""
    with rtsp_server({"hall": clip}) as running:
        yield running


def frames_of(camera: Camera, seconds: float) -> list[Frame | EndOfStream]:
    taken: list[Frame | EndOfStream] = []
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        camera.filled.wait(left)
        camera.filled.clear()
        while (item := camera.slot.take()) is not None:
            taken.append(item)
    return taken


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_camera_is_green_within_seconds(server: RtspServer, start: Start, transport: str) -> None:
    """Frames arrive at the camera's rate, in order, with current times, over TCP and UDP."""
    camera = start(server.url("hall"), transport=transport)
    camera.wait_for(lambda status: status.state is GREEN, 5)
    frames_of(camera, 0.5)
    frames = [item for item in frames_of(camera, 1.5) if isinstance(item, Frame)]
    assert len(frames) == pytest.approx(1.5 * 25, abs=12)
    numbers = [number_of(frame.pixels.bgr()) for frame in frames]
    assert all((later - earlier) % 100 <= 5 for earlier, later in pairwise(numbers)), numbers
    assert abs((datetime.now(UTC) - frames[-1].captured_at).total_seconds()) < 1
    for earlier, later in pairwise(frames):
        assert later.captured_at > earlier.captured_at
        assert later.media_time > earlier.media_time
    status = camera.handler.status
    assert (status.codec, status.width, status.height, status.fps) == ("h264", 320, 240, 25.0)
    assert camera.handler.stop()


@pytest.mark.parametrize("auth", ["digest", "basic"])
def test_the_right_password_opens_and_a_wrong_one_is_unauthorized(
    clip: Path, start: Start, auth: str
) -> None:
    """With Digest and Basic, and with special characters. The password is in no state, status or log line."""
    with rtsp_server({"hall": clip}, "cam", PASSWORD, auth) as server, capture_logs() as lines:
        right = start(server.url("hall", LOGIN))
        wrong = start(server.url("hall", "cam:wr0ng"))
        nobody = start(server.url("hall"))
        right.wait_for(lambda status: status.state is GREEN, 5)
        for camera in (wrong, nobody):
            camera.wait_for(lambda status: status.state is RED and status.reason == "unauthorized", 5)
        told = str(lines) + str([(camera.handler.status, camera.states) for camera in (right, wrong, nobody)])
    assert "s3cr3t" not in told and "wr0ng" not in told
    assert f"rtsp://***@127.0.0.1:{server.port}/hall: wrong user or password" in told


@pytest.mark.parametrize(("path", "reason"), [("attic", "not_found"), ("audio", "no_video")])
def test_a_camera_that_cannot_work_is_red_and_does_not_affect_others(
    server: RtspServer, start: Start, path: str, reason: str
) -> None:
    """A missing path, and a stream without video."""
    well, ill = start(server.url("hall")), start(server.url(path))
    ill.wait_for(lambda status: status.state is RED and status.reason == reason, 5)
    well.wait_for(lambda status: status.state is GREEN, 5)
    assert well.reconnects == []


def test_a_killed_server_is_refused_and_the_camera_recovers(mortal: RtspServer, start: Start) -> None:
    """A killed server ends the stream like a file; that counts as a failure, and the camera recovers within
    seconds."""
    camera = start(mortal.url("hall"), reconnect_max_seconds=1)
    with capture_logs() as lines:
        camera.wait_for(lambda status: status.state is GREEN, 5)
        mortal.kill()
        lost = camera.wait_for(lambda status: status.reason == "refused", 5)
        assert lost.state is YELLOW
        before = lost.frames_decoded
        mortal.start()
        camera.wait_for(lambda status: status.state is GREEN and status.frames_decoded > before, 5)
    assert camera.reconnects[0] == "ended"
    assert [line["event"] for line in lines if line["event"] != "camera is connected"] == [
        "camera gives no frames",
        "camera is back",
    ]
    items = frames_of(camera, 0.3)
    assert any(isinstance(item, EndOfStream) for item in items)


def test_a_frozen_stream_is_stalled_and_reopened(mortal: RtspServer, start: Start) -> None:
    """The connection stays open without data: yellow after seconds, reopened after the timeout."""
    camera = start(mortal.url("hall"), read_timeout_seconds=4, reconnect_max_seconds=1)
    camera.wait_for(lambda status: status.state is GREEN, 5)
    mortal.freeze()
    camera.wait_for(lambda status: status.state is YELLOW and status.reason == "stalled", 4)
    assert camera.reconnects == []
    camera.wait_for(lambda status: status.reconnects >= 1, 3)
    assert camera.reconnects[0] == "stalled"
    mortal.thaw()
    camera.wait_for(lambda status: status.state is GREEN, 7)


def test_stopping_a_frozen_camera_takes_less_than_two_seconds(mortal: RtspServer, start: Start) -> None:
    """Its thread may stay inside FFmpeg until the timeout."""
    camera = start(mortal.url("hall"), read_timeout_seconds=2)
    camera.wait_for(lambda status: status.state is GREEN, 5)
    mortal.freeze()
    time.sleep(0.3)
    began = time.monotonic()
    camera.handler.stop(timeout=0.5)
    assert time.monotonic() - began < 1
    assert camera.handler.status.state is CameraState.GREY
    assert camera.handler.join(5)


def test_probe_returns_metadata_and_picture_or_a_reason(server: RtspServer) -> None:
    """Codec, size and a real picture, or the reason why not."""
    result = probe(CameraSettings.model_validate({"id": "probe", "url": server.url("hall")}))
    assert (result.codec, result.width, result.height, result.recorded) == ("h264", 320, 240, False)
    assert result.picture.shape == (240, 320, 3)
    with pytest.raises(SourceError) as caught:
        probe(CameraSettings.model_validate({"id": "probe", "url": server.url("attic")}))
    assert caught.value.reason is Reason.NOT_FOUND

"""The first picture of a connection: none before an undamaged key frame."""

import re
import time
from collections.abc import Callable

import numpy as np
import pytest

from cameras.handler import CameraHandler
from cameras.latest_frame import LatestFrame
from cameras.observer import CameraState, UnobservedCamera
from cameras.settings import CameraSettings
from cameras.source.probe import probe
from tests.scripted_rtsp import ScriptedRtsp, encoded_pictures, scripted_rtsp


def camera(server: ScriptedRtsp) -> CameraSettings:
    return CameraSettings(id="hall", url=server.url(), connect_timeout_seconds=4, read_timeout_seconds=1)


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def waited_seconds(handler: CameraHandler) -> int:
    """The seconds in the status detail; 0 if it does not mention a key frame."""
    found = re.search(r"waits for a key frame \((\d+) s so far\)", handler.status.detail)
    return int(found[1]) if found else 0


def test_rare_key_frames_do_not_cause_a_reconnect(monkeypatch: pytest.MonkeyPatch) -> None:
    """On one connection, longer than the usual timeout for a first picture; the detail says what to
    change."""
    monkeypatch.setattr("cameras.source_run.FIRST_PICTURE_SECONDS", 1.0)
    between = encoded_pictures(count=200, key_interval=200)[1:]
    with scripted_rtsp(pictures=[*between, *encoded_pictures()]) as server:
        handler = CameraHandler(camera(server), LatestFrame("hall"), UnobservedCamera())
        handler.start()
        try:
            wait_until(lambda: waited_seconds(handler) >= 3, 12)
            status = handler.status
            assert (status.state, status.reason) == (CameraState.YELLOW, "connecting")
            assert "smart codec" in status.detail
            wait_until(lambda: handler.status.state is CameraState.GREEN, 12)
        finally:
            handler.stop(5)
        assert len(server.connected_at) == 1


def flipped(picture: bytes) -> bytes:
    at = len(picture) // 2
    return picture[:at] + bytes(byte ^ 0x55 for byte in picture[at : at + 8]) + picture[at + 8 :]


def cut(picture: bytes) -> bytes:
    return picture[: len(picture) // 2]


def holed(picture: bytes) -> bytes:
    return picture[: len(picture) // 3] + picture[len(picture) // 2 :]


@pytest.mark.parametrize("damage", [flipped, cut, holed])
def test_pictures_up_to_the_first_undamaged_key_frame_are_skipped(damage: Callable[[bytes], bytes]) -> None:
    """Damaged pictures are counted."""
    pictures = encoded_pictures(count=20, key_interval=10, size=(320, 192), detail=True)
    with scripted_rtsp(pictures=pictures[10:]) as server:
        sound = probe(camera(server)).picture
    with scripted_rtsp(pictures=[damage(pictures[0]), *pictures[1:]]) as server:
        found = probe(camera(server))
    assert found.damaged_pictures >= 5
    assert np.abs(found.picture.astype(int) - sound).mean() < 1

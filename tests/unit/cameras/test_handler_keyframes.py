"""The handler in keyframe mode: buffered packets and late frames."""

import threading
import time

import pytest
from structlog.testing import capture_logs

from cameras.handler import CameraHandler
from cameras.latest_frame import LatestFrame
from cameras.load.decode_load import DecodeLoad
from cameras.stream import NoFrame, UndecodedPacket
from tests.scripted_camera import (
    RECORDED,
    Notes,
    Script,
    Step,
    handler,
    picture,
    settings,
    take_all,
)


def test_buffered_packets_keep_the_camera_green_and_a_recording_in_real_time() -> None:
    """Only two pictures of 0.3 s are decoded."""
    notes = Notes()
    kept: list[Step] = [UndecodedPacket(0.01 * number) for number in range(1, 30)]
    script = Script([picture(0.0), *kept, picture(0.3)], info=RECORDED)
    camera = handler(script, notes, url="file:/clip.mp4", max_fps=1)
    began = time.monotonic()
    camera.start()
    assert camera.join(5)
    assert time.monotonic() - began >= 0.29
    assert notes.states == ["green", "grey:ended"]
    assert notes.decoded == 2


def test_late_frames_wait_for_the_analysis(monkeypatch: pytest.MonkeyPatch) -> None:
    """They arrive in a burst; without a wait the newest would replace the others."""
    monkeypatch.setattr("cameras.handler.LATE_FRAME_WAIT_SECONDS", 10.0)
    notes = Notes()
    ready = threading.Event()
    slot = LatestFrame("hall", notes, on_ready=ready.set)
    late = [picture(0.04 * number).as_late() for number in range(1, 6)]
    hold = threading.Event()
    script = Script([picture(0.0), *late, lambda: hold.wait(10) and None])
    camera = handler(script, notes, slot, max_fps=30)
    camera.start()
    taken: list[object] = []
    deadline = time.monotonic() + 10
    while len(taken) < 6 and time.monotonic() < deadline:
        taken += take_all(slot)
        time.sleep(0.001)
    hold.set()
    camera.stop()
    assert len(taken) == 6
    assert notes.skips == []


def test_keyframe_mode_for_longer_than_the_read_timeout_is_no_stall() -> None:
    """Packets arrive meanwhile, so the camera is not reopened."""
    notes = Notes()
    hold = threading.Event()
    dozing: list[Step] = [
        UndecodedPacket(0.1),
        lambda: time.sleep(0.6),
        UndecodedPacket(0.7),
        lambda: time.sleep(0.6),
        UndecodedPacket(1.3),
    ]
    steps: list[Step] = [
        picture(0.0),
        *dozing,
        NoFrame(corrupt=False),
        picture(1.4),
        lambda: hold.wait(10) and None,
    ]
    camera = handler(Script(steps), notes, read_timeout_seconds=1)
    camera.start()
    deadline = time.monotonic() + 10
    while notes.decoded < 2 and not notes.reconnects and time.monotonic() < deadline:
        time.sleep(0.01)
    hold.set()
    camera.stop()
    assert notes.reconnects == []
    assert notes.decoded == 2


def test_dropped_packets_are_counted_as_busy() -> None:
    """The camera stays green."""
    notes = Notes()
    script = Script(
        [picture(0.0), UndecodedPacket(0.04, dropped=True), UndecodedPacket(0.08), picture(0.12)],
        info=RECORDED,
    )
    camera = handler(script, notes, url="file:/clip.mp4", max_fps=1)
    camera.start()
    assert camera.join(5)
    assert notes.skips == ["busy"]
    assert notes.states == ["green", "grey:ended"]


@pytest.mark.parametrize(("decode", "logged"), [("all", True), ("keyframes", False)])
def test_an_overload_is_logged_when_it_begins_and_when_it_ends(decode: str, logged: bool) -> None:
    """Only with decode = "all"."""
    notes = Notes()
    overloads = iter([False, True, True, False, False])
    now = False

    class Scripted(DecodeLoad):
        @property
        def overloaded(self) -> bool:
            return now

    def change() -> None:
        nonlocal now
        now = next(overloads)

    steps = [step for number in range(5) for step in (change, picture(0.2 * number))]
    script = Script(steps, info=RECORDED)
    clip = settings(decode=decode, url="file:/clip.mp4", max_fps=1)
    camera = CameraHandler(clip, LatestFrame("hall", notes), notes, script, decode_load=Scripted())
    with capture_logs() as lines:
        camera.start()
        assert camera.join(10)
    said = ["too much to decode: only key frames while nothing happens", "every frame is decoded again"]
    assert [line["event"] for line in lines if line["event"] in said] == (said if logged else [])

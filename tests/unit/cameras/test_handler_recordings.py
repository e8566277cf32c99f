"""The handler with recordings."""

import time

import pytest

from cameras.latest_frame import EndOfStream, LatestFrame
from cameras.observer import CameraState
from cameras.stream import NoFrame
from pipeline.types import Frame
from tests.scripted_camera import (
    RECORDED,
    Notes,
    Script,
    handler,
    picture,
    take_all,
)


@pytest.mark.parametrize("loop", [False, True])
def test_only_a_looped_recording_drops_frames(loop: bool) -> None:
    """It simulates a live camera; a recording that is played once waits for the analysis."""
    slot = LatestFrame("hall")
    script = Script([picture(0.01 * number) for number in range(20)], info=RECORDED)
    camera = handler(script, Notes(), slot, url="file:/clip.mp4", loop=loop, max_fps=120)
    camera.start()
    taken: list[float] = []
    deadline = time.monotonic() + 5
    while not slot.closed or slot.waiting:
        time.sleep(0.05)
        taken += [item.media_time for item in take_all(slot) if isinstance(item, Frame)]
        if loop and (time.monotonic() > deadline or any(moment > 0.2 for moment in taken)):
            break
    camera.stop()
    first = [moment for moment in taken if moment < 0.195]
    assert len(first) == 20 if not loop else len(first) < 20


def test_a_recording_is_played_once() -> None:
    """At its end the camera is grey, its thread has ended, and the slot is closed."""
    notes = Notes()
    slot = LatestFrame("hall", notes)
    script = Script([picture(0.0)], info=RECORDED)
    camera = handler(script, notes, slot, url="file:/clip.mp4")
    camera.start()
    assert camera.join(5)
    assert script.opened == 1
    assert (camera.status.state, camera.status.reason) == (CameraState.GREY, "ended")
    assert [type(item) for item in take_all(slot)] == [Frame, EndOfStream]
    assert slot.closed
    camera.stop()
    assert camera.status.reason == "ended"


def test_the_media_time_of_a_looped_recording_keeps_growing() -> None:
    """There is neither an end of stream nor a reconnect between two rounds."""
    notes = Notes()
    slot = LatestFrame("hall", notes)
    script = Script([picture(0.0), picture(0.04)], info=RECORDED)
    camera = handler(script, notes, slot, url="file:/clip.mp4", loop=True, speed="fast", max_fps=30)
    camera.start()
    taken: list[Frame] = []
    while len(taken) < 10:
        item = slot.take()
        assert not isinstance(item, EndOfStream)
        taken += [item] if item else []
    camera.stop()
    assert [frame.media_time for frame in taken] == pytest.approx([0.04 * i for i in range(10)])
    assert notes.reconnects == []


def test_a_looped_picture_is_read_once_a_second() -> None:
    """Without the pause, a recording of one picture would be reopened continuously."""
    notes = Notes()
    script = Script([picture(0.0)], info=RECORDED)
    camera = handler(script, notes, url="file:/one.png", loop=True)
    camera.start()
    time.sleep(1.3)
    assert camera.stop()
    assert script.opened == 2


def test_a_looped_recording_keeps_its_frame_rate_across_rounds() -> None:
    """Two frames at 25 frames a second, looped, are 25 frames a second."""
    notes = Notes()
    script = Script([picture(0.0), picture(0.04)], info=RECORDED)
    camera = handler(script, notes, url="file:/clip.mp4", loop=True)
    camera.start()
    time.sleep(0.6)
    assert camera.stop()
    assert notes.decoded <= 0.7 * 25


def test_at_media_speed_a_recording_is_played_in_real_time() -> None:
    """Eleven frames at 25 frames a second last 0.4 s."""
    notes = Notes()
    script = Script([picture(i * 0.04) for i in range(11)], info=RECORDED)
    camera = handler(script, notes, url="file:/clip.mp4", max_fps=1)
    began = time.monotonic()
    camera.start()
    assert camera.join(5)
    assert 0.4 <= time.monotonic() - began < 1.0
    assert notes.decoded == 11


def test_a_recording_without_pictures_is_corrupt_and_retried() -> None:
    """Also with loop: it must not be reopened without a pause."""
    for loop in (False, True):
        notes = Notes()
        camera = handler(Script([NoFrame(True)] * 3, info=RECORDED), notes, url="file:/clip.mp4", loop=loop)
        camera.start()
        notes.wait_for(lambda notes=notes: len(notes.reconnects) >= 2)  # type: ignore[misc]  # bound as a default
        camera.stop()
        assert notes.states[0] == "red:corrupt"
        assert notes.skips[:3] == ["corrupt"] * 3

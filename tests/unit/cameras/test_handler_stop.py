"""Stopping a handler, whatever its thread waits for."""

import threading
import time

from cameras.errors import Reason
from cameras.handler import CameraHandler
from cameras.latest_frame import LatestFrame
from cameras.observer import CameraState
from cameras.settings import CameraSettings
from pipeline.base.backoff import Backoff
from tests.scripted_camera import (
    RECORDED,
    Notes,
    QuickBackoff,
    Script,
    ScriptedSource,
    fault,
    handler,
    picture,
    settings,
    take_all,
)


def test_stop_does_not_wait_for_a_hanging_connect() -> None:
    """Later reports of the thread are dropped, and its source is closed."""
    hold = threading.Event()
    script = Script([picture(0.0)])

    def hanging(camera: CameraSettings) -> ScriptedSource:
        hold.wait(10)
        return script(camera)

    notes = Notes()
    slot = LatestFrame("hall", notes)
    camera = CameraHandler(settings(), slot, notes, hanging, QuickBackoff())
    camera.start()
    began = time.monotonic()
    assert camera.stop(timeout=0.2) is False
    assert time.monotonic() - began < 1
    assert camera.status.state is CameraState.GREY
    hold.set()
    assert camera.join(5)
    assert script.closed == 1
    assert take_all(slot) == []
    assert notes.states[-1] == "grey:stopped"


def test_stop_interrupts_the_pause_between_attempts() -> None:
    """Even a long pause."""
    notes = Notes()
    camera = CameraHandler(
        settings(), LatestFrame("hall"), notes, Script(fault(Reason.DNS)), Backoff(300, 300)
    )
    camera.start()
    notes.wait_for(lambda: "red:dns" in notes.states)
    assert camera.stop()


def test_stop_interrupts_playback_and_a_put_that_waits_for_the_slot() -> None:
    """With speed media, and with speed fast."""
    for speed in ("media", "fast"):
        notes = Notes()
        script = Script([picture(0.0), picture(9.0), picture(18.0)], info=RECORDED)
        camera = handler(script, notes, url="file:/clip.mp4", speed=speed)
        camera.start()
        notes.wait_for(lambda notes=notes: "green" in notes.states)  # type: ignore[misc]  # bound as a default
        assert camera.stop()
        assert camera.status.reason == "stopped"


def test_a_disabled_camera_is_grey_and_opens_nothing() -> None:
    """It can be stopped like any other camera."""
    script, notes = Script([picture()]), Notes()
    camera = handler(script, notes, enabled=False)
    camera.start()
    assert (camera.status.state, camera.status.reason) == (CameraState.GREY, "disabled")
    assert camera.stop()
    assert camera.status.reason == "disabled"
    assert script.opened == 0

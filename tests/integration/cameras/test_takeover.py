"""A stalled run that was given up has no effect, and the new run continues in its place."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from cameras.handler import CameraHandler
from cameras.latest_frame import EndOfStream, LatestFrame
from pipeline.types import Frame
from tests.daemon_process import wait_for
from tests.scripted_camera import RECORDED, Notes, QuickBackoff, Script, Step, picture, settings, take_all


class Gate:
    """Holds a thread inside a callback until the test releases it."""

    def __init__(self) -> None:
        self.entered, self.opened = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.entered.set()
        self.opened.wait(20)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence of 20 ms counts as a stall."""
    monkeypatch.setattr("cameras.status.watchdog.SILENT_SECONDS", 0.02)
    monkeypatch.setattr("cameras.status.watchdog.USUAL_GAPS", 0)


@pytest.fixture
def gates() -> Iterator[Callable[[], Gate]]:
    made: list[Gate] = []

    def make() -> Gate:
        made.append(Gate())
        return made[-1]

    yield make
    for gate in made:
        gate.opened.set()


def reopen(camera: CameraHandler) -> None:
    wait_for("a stall", lambda: camera.stall() is not None, 10)
    stall = camera.stall()
    assert stall is not None and camera.reopen(stall)


def test_a_frame_of_the_old_run_is_dropped(gates: Callable[[], Gate]) -> None:
    """The old thread has passed all checks, and is about to read the wanted frame rate, at the time of the
    takeover."""
    silent, asks, end = gates(), gates(), gates()
    armed = threading.Event()

    def wanted_fps() -> float:
        if armed.is_set():
            armed.clear()
            asks()
        return 1000.0

    steps: list[Step] = [picture(0.0), armed.set, picture(0.04), silent]
    notes = Notes()
    slot = LatestFrame("hall", notes)
    camera = CameraHandler(
        settings(), slot, notes, Script(steps, [end]), QuickBackoff(), wanted_fps=wanted_fps
    )
    camera.start()
    assert asks.entered.wait(10)
    (old,) = (thread for thread in threading.enumerate() if thread.name == "camera hall")
    reopen(camera)
    assert [type(item) for item in take_all(slot)] == [Frame, EndOfStream]
    assert str(camera.status.state) == "yellow"
    decoded = camera.status.frames_decoded
    asks.opened.set()
    silent.opened.set()
    old.join(10)
    assert not old.is_alive()
    assert take_all(slot) == []
    assert (str(camera.status.state), camera.status.reason) == ("yellow", "stalled")
    assert camera.status.frames_decoded == decoded
    assert notes.states == ["green", "yellow:stalled"]
    camera.stop()


def test_the_old_run_does_not_change_the_state(gates: Callable[[], Gate]) -> None:
    """Its packet arrives at the moment of the takeover, thirty times."""
    for _ in range(30):
        hold, end = gates(), gates()
        notes = Notes()
        slot = LatestFrame("hall", notes)
        script = Script([picture(0.0), hold, picture(0.04), picture(0.08)], [end])
        camera = CameraHandler(settings(), slot, notes, script, QuickBackoff(), wanted_fps=lambda: 1000.0)
        camera.start()
        assert hold.entered.wait(10)
        stall = None
        while stall is None:
            stall = camera.stall()
        threading.Thread(target=hold.opened.set).start()
        if camera.reopen(stall):
            assert end.entered.wait(10)
            time.sleep(0.002)
            items = [type(item) for item in take_all(slot)]
            assert items[-1] is EndOfStream and items.count(EndOfStream) == 1
            assert str(camera.status.state) == "yellow"
        end.opened.set()
        camera.stop()


def test_a_recording_is_played_in_real_time_after_a_takeover(gates: Callable[[], Gate]) -> None:
    """The wait for the next frame belongs to the new run, not to the stopped one."""
    stuck = gates()
    slot, notes = LatestFrame("hall"), Notes()
    later: list[Step] = [picture(number * 0.3) for number in range(4)]

    class StuckOnce(Script):
        def __call__(self, camera: object) -> object:
            source = super().__call__(camera)
            if self.opened == 2:
                stuck()
            return source

    script = StuckOnce([picture(0.0), picture(0.3)], [picture(0.0)], later, [stuck], info=RECORDED)
    options = settings(url="http://host/clip.mp4", loop=True)
    camera = CameraHandler(options, slot, notes, script, QuickBackoff(), wanted_fps=lambda: 1000.0)
    camera.start()
    assert stuck.entered.wait(10)
    reopen(camera)
    wait_for("the new run", lambda: script.opened == 3, 10)
    began = time.monotonic()
    wait_for("its frames", lambda: camera.status.frames_decoded >= 2 + 4, 10)
    assert time.monotonic() - began > 0.8
    camera.stop()

"""The handler with scripted sources."""

import threading
import time
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from cameras.errors import Reason
from cameras.handler import CameraHandler
from cameras.latest_frame import EndOfStream, LatestFrame
from cameras.stream import NoFrame, StreamInfo
from pipeline.base.backoff import Backoff
from pipeline.types import Frame
from tests.scripted_camera import (
    RECORDED,
    Notes,
    Script,
    Step,
    fault,
    handler,
    picture,
    settings,
    take_all,
)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds on the run's clock, which does not advance unless the test sets it."""
    seconds = [0.0]
    for module in ("cameras.source_run", "cameras.status.watchdog"):
        monkeypatch.setattr(f"{module}.time", SimpleNamespace(monotonic=lambda: seconds[0]))
    return seconds


def test_each_failure_is_retried_and_counted_by_its_reason() -> None:
    """After refused, lost and stalled connections the camera is green again."""
    hold = threading.Event()
    script = Script(
        fault(Reason.REFUSED),
        [picture(0.0), fault(Reason.ENDED)],
        [picture(0.0), picture(0.04), fault(Reason.STALLED)],
        [picture(0.0), lambda: hold.wait(10) and None],
    )
    notes = Notes()
    camera = handler(script, notes)
    camera.start()
    notes.wait_for(lambda: notes.states[-1:] == ["green"] and script.opened == 4)
    status = camera.status
    hold.set()
    assert camera.stop()
    assert notes.reconnects[:3] == ["refused", "ended", "stalled"]
    assert notes.states[:2] == ["red:refused", "green"]
    assert (status.frames_decoded, status.reconnects) == (4, 3)
    assert (status.width, status.height, status.codec, status.fps) == (6, 4, "h264", 25.0)
    assert status.url == "rtsp://***@host/live"
    assert status.last_frame_at is not None


def test_a_frame_rate_missing_in_the_metadata_is_measured(now: list[float]) -> None:
    """The status shows the measured rate."""

    def later() -> None:
        now[0] += 0.1

    notes = Notes()
    unnamed = StreamInfo("h264", 6, 4, None, recorded=False)
    steps: list[Step] = [part for _ in range(40) for part in (later, picture(0.0))]
    camera = handler(Script([*steps, fault(Reason.ENDED)], info=unnamed), notes)
    camera.start()
    notes.wait_for(lambda: len(notes.reconnects) >= 1)
    camera.stop()
    assert camera.status.fps == 10.0


def test_every_opened_source_is_closed() -> None:
    """Also after a failure."""
    script = Script([picture(), fault(Reason.BROKEN)])
    notes = Notes()
    camera = handler(script, notes)
    camera.start()
    notes.wait_for(lambda: len(notes.reconnects) >= 5)
    camera.stop()
    assert script.opened == script.closed >= 5


def test_a_reconnect_puts_an_end_of_stream_into_the_slot() -> None:
    """No track continues across it; capture and media times keep growing."""
    notes = Notes()
    slot = LatestFrame("hall", notes)
    hold = threading.Event()
    camera = handler(
        Script([picture(50.0), fault(Reason.ENDED)], [picture(0.0), lambda: hold.wait(10) and None]),
        notes,
        slot,
    )
    camera.start()
    notes.wait_for(lambda: notes.states.count("green") == 2)
    while slot.waiting < 3:
        time.sleep(0.005)
    before, end, after = take_all(slot)
    hold.set()
    camera.stop()
    assert isinstance(before, Frame) and isinstance(end, EndOfStream) and isinstance(after, Frame)
    assert after.captured_at > before.captured_at
    assert after.media_time > before.media_time


def test_frames_are_handed_over_evenly_at_max_fps() -> None:
    """Of 25 frames a second all are decoded and 10 handed over; the others do not count as skipped."""
    notes = Notes()
    slot = LatestFrame("hall", notes)
    script = Script([picture(0.04 * number) for number in range(26)], info=RECORDED)
    camera = handler(script, notes, slot, url="file:/clip.mp4", speed="fast", max_fps=10)
    camera.start()
    taken: list[float] = []
    while not (slot.closed and not slot.waiting):
        taken += [item.media_time for item in take_all(slot) if isinstance(item, Frame)]
        time.sleep(0.001)
    assert taken == pytest.approx([0.0, 0.12, 0.2, 0.32, 0.4, 0.52, 0.6, 0.72, 0.8, 0.92, 1.0])
    assert notes.decoded == 26
    assert notes.skips == []


def test_a_live_camera_follows_the_frame_rate_that_the_analysis_wants() -> None:
    """Five frames a second, then ten, without a delay."""
    wanted = [5.0]
    slot, taken = LatestFrame("hall"), []

    def look() -> None:
        taken.extend(item.media_time for item in take_all(slot) if isinstance(item, Frame))
        if taken[-1] == pytest.approx(0.4):
            wanted[0] = 10.0

    steps: list[Step] = []
    for number in range(21):
        steps += [picture(0.04 * number), look]
    script = Script([*steps, fault(Reason.ENDED)])
    camera = CameraHandler(settings(), slot, Notes(), script, Backoff(300, 300), wanted_fps=lambda: wanted[0])
    camera.start()
    while camera.status.reason != "ended":
        time.sleep(0.005)
    camera.stop()
    assert taken == pytest.approx([0.0, 0.2, 0.4, 0.52, 0.6, 0.72, 0.8])


def test_frames_that_are_not_analysed_are_reported_as_decoded() -> None:
    """With a delay of at most 0.2 s while the stream continues, and completely when it ends."""
    hold = threading.Event()
    steps: list[Step] = [picture(0.04 * number) for number in range(60)]
    notes = Notes()
    camera = handler(Script([*steps, lambda: hold.wait(10) and None]), notes, max_fps=0.1)
    camera.start()
    deadline = time.monotonic() + 10
    while camera.status.frames_decoded < 60 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert 60 - 5 <= notes.decoded <= 60
    hold.set()
    assert camera.stop()
    assert notes.decoded == 60


def test_hung_seconds_counts_only_beyond_all_timeouts(now: list[float]) -> None:
    """0 while the thread waits within its timeouts, and after a stop."""
    reading, hold = threading.Event(), threading.Event()

    def hang() -> None:
        reading.set()
        hold.wait(10)

    camera = handler(Script([picture(0.0), hang]), Notes())
    camera.start()
    assert reading.wait(5)
    now[0] += 54
    assert camera.hung_seconds() == 0
    now[0] += 3
    assert camera.hung_seconds() == 57
    hold.set()
    camera.stop()
    assert camera.hung_seconds() == 0


def test_packets_without_pictures_are_a_stall(now: list[float]) -> None:
    """A stream that cannot be decoded is reopened after the read timeout."""

    def later() -> None:
        now[0] += 7

    notes = Notes()
    camera = handler(Script([picture(0.0), NoFrame(True), later, NoFrame(True), later, NoFrame(True)]), notes)
    camera.start()
    notes.wait_for(lambda: len(notes.reconnects) >= 1)
    camera.stop()
    assert notes.reconnects[0] == "stalled"


def test_a_late_first_picture_is_no_stall(now: list[float]) -> None:
    """Twelve seconds until the first key frame do not cause a reconnect."""

    def later() -> None:
        now[0] += 12

    notes = Notes()
    camera = handler(
        Script([NoFrame(False), later, NoFrame(False), picture(0.0), fault(Reason.ENDED)]), notes
    )
    camera.start()
    notes.wait_for(lambda: "green" in notes.states)
    camera.stop()
    assert "stalled" not in notes.reconnects[:1]


def test_a_programming_error_reaches_the_excepthook() -> None:
    """It is not retried; the daemon ends the process."""
    seen: list[type[BaseException]] = []
    hook, threading.excepthook = threading.excepthook, lambda args: seen.append(args.exc_type)
    try:
        camera = handler(Script([lambda: [][0]]), Notes())
        camera.start()
        camera.join(5)
    finally:
        threading.excepthook = hook
    assert seen == [IndexError]


def test_no_log_line_contains_the_password() -> None:
    """From the first connection to the last failure."""
    notes = Notes()
    with capture_logs() as lines:
        camera = handler(Script([picture(0.0), fault(Reason.ENDED)], fault(Reason.UNAUTHORIZED)), notes)
        camera.start()
        notes.wait_for(lambda: len(notes.reconnects) >= 3)
        camera.stop()
    assert {line["event"] for line in lines} == {
        "camera's thread begins",
        "camera is connected",
        "camera gives no frames",
    }
    assert "s3cr3t" not in str(lines) + repr(camera.status) + repr(camera.settings)

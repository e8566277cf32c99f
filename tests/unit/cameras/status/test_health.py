import threading

import pytest
from structlog.testing import capture_logs

from cameras.errors import Reason, SourceError
from cameras.observer import CameraState, UnobservedCamera
from cameras.status.damage import DamageMeter
from cameras.status.health import CameraHealth

GREEN, YELLOW, RED, GREY = CameraState.GREEN, CameraState.YELLOW, CameraState.RED, CameraState.GREY


class States(UnobservedCamera):
    def __init__(self) -> None:
        self.seen: list[tuple[CameraState, str]] = []

    def state(self, cam_id: str, state: CameraState, reason: str) -> None:
        self.seen.append((state, reason))


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def states() -> States:
    return States()


@pytest.fixture
def health(states: States, clock: Clock) -> CameraHealth:
    return CameraHealth("hall", states, clock)


def trouble(reason: Reason = Reason.REFUSED) -> SourceError:
    return SourceError(reason, f"rtsp://***@host/live: {reason}")


def shown(health: CameraHealth) -> tuple[CameraState, str]:
    health.refresh()
    condition = health.condition()
    return condition.state, condition.reason


def test_a_camera_is_yellow_until_its_first_picture_and_red_if_there_is_none(
    health: CameraHealth, clock: Clock
) -> None:
    """While connecting, the camera is yellow, because that usually passes."""
    assert shown(health) == (YELLOW, "connecting")
    clock.now += 30
    assert shown(health) == (RED, "connecting")
    health.frame()
    assert shown(health) == (GREEN, "")


def test_a_camera_that_never_worked_is_red_at_once(health: CameraHealth) -> None:
    """A wrong address shows without a delay of 30 s."""
    health.failed(trouble())
    assert shown(health) == (RED, "refused")


def test_a_lost_camera_is_yellow_for_30_seconds_and_then_red(health: CameraHealth, clock: Clock) -> None:
    """Another failure does not restart the 30 s; the reason is that of the last attempt."""
    health.frame()
    health.failed(trouble(Reason.ENDED))
    assert shown(health) == (YELLOW, "ended")
    clock.now += 20
    health.failed(trouble())
    assert shown(health) == (YELLOW, "refused")
    clock.now += 10
    assert shown(health) == (RED, "refused")


def test_a_permanent_failure_is_red_at_once(health: CameraHealth) -> None:
    """A wrong password does not heal by itself."""
    health.frame()
    health.failed(trouble(Reason.UNAUTHORIZED))
    assert shown(health) == (RED, "unauthorized")


def test_a_silent_stream_is_yellow_before_the_read_timeout(health: CameraHealth, clock: Clock) -> None:
    """Without any report: the thread waits inside FFmpeg."""
    health.connected(live=True)
    for _ in range(10):
        health.frame()
        clock.now += 0.04
    assert shown(health) == (GREEN, "")
    clock.now += 4
    assert shown(health) == (YELLOW, "stalled")
    clock.now += 30
    assert shown(health) == (RED, "stalled")


def test_silence_is_logged_once_when_it_begins_and_once_when_it_ends(
    health: CameraHealth, clock: Clock
) -> None:
    """Whether or not the connection is given up in between; the first line is written by the next refresh."""
    health.connected(live=True)
    with capture_logs() as lines:
        for _ in range(10):
            health.frame()
            clock.now += 0.04
        clock.now += 4
        health.refresh()
        health.refresh()
        health.failed(trouble(Reason.STALLED))
        health.frame()
    assert [line["event"] for line in lines] == ["camera gives no frames", "camera is back"]
    assert (lines[0]["reason"], lines[0]["detail"]) == ("stalled", "no picture for 4 s")
    assert (lines[1]["seconds_lost"], lines[1]["attempts"]) == (4.0, 1)


def test_a_camera_that_does_not_answer_is_logged_after_seconds(health: CameraHealth, clock: Clock) -> None:
    """Before its timeout; the first picture is logged too."""
    with capture_logs() as lines:
        health.refresh()
        clock.now += 4
        assert shown(health) == (YELLOW, "connecting")
        health.frame()
    assert [line["event"] for line in lines] == ["camera gives no frames", "camera is back"]


def test_a_late_first_picture_of_a_file_is_not_logged(states: States, clock: Clock) -> None:
    """Decoding a large picture takes seconds."""
    health = CameraHealth("hall", states, clock, live=False)
    with capture_logs() as lines:
        clock.now += 10
        assert shown(health) == (YELLOW, "connecting")
        clock.now += 20
        assert shown(health) == (RED, "connecting")
        health.frame()
    assert lines == []


def test_a_camera_with_damaged_pictures_is_yellow_until_none_is_damaged(
    health: CameraHealth, clock: Clock
) -> None:
    """From one in twenty on; one line when it begins and one when it ends."""
    with capture_logs() as lines:
        for number in range(100):
            health.frame()
            if number in (60, 75):
                health.damaged_frame()
            clock.now += 0.05
        assert shown(health) == (GREEN, "")
        for _ in range(20):
            health.frame()
            health.damaged_frame()
            clock.now += 0.05
        assert shown(health) == (YELLOW, "corrupt")
        for _ in range(80):
            health.frame()
            clock.now += 0.05
        assert shown(health) == (GREEN, "")
    events = [line["event"] for line in lines]
    assert events == ["camera sends damaged pictures", "camera's pictures are whole again"]


def test_pictures_damaged_by_a_lost_connection_do_not_count(health: CameraHealth, clock: Clock) -> None:
    """Neither the truncated picture, nor those before the first key frame of the next connection."""
    with capture_logs() as lines:
        for _ in range(3):
            health.connected(live=True)
            for _ in range(4):
                health.damaged_frame()
            for _ in range(8):
                health.frame()
                clock.now += 0.05
            health.damaged_frame()
            assert shown(health) == (GREEN, "")
            health.failed(trouble(Reason.BROKEN))
            clock.now += 0.5
    assert [line["event"] for line in lines] == ["camera gives no frames", "camera is back"]


def test_damage_ends_only_when_no_picture_is_damaged() -> None:
    """So the state does not flicker."""
    meter = DamageMeter()
    for number in range(100):
        meter.picture(100 + number / 50, damaged=number % 2 == 0)
    assert meter.share(102) == 0.5
    for number in range(150):
        meter.picture(102 + number / 50, damaged=number == 140)
    assert 0 < meter.share(104.99) < 0.01
    assert meter.share(107.9) == 0


def test_a_camera_that_becomes_slow_is_stalled_once(health: CameraHealth, clock: Clock) -> None:
    """Its usual gap is learned from the silence."""
    health.connected(live=True)
    health.frame()
    shown_at_4_seconds = []
    for _ in range(3):
        clock.now += 4
        shown_at_4_seconds.append(shown(health))
        clock.now += 1
        health.frame()
    assert shown_at_4_seconds == [(YELLOW, "stalled"), (GREEN, ""), (GREEN, "")]


def test_the_frame_rate_in_the_metadata_sets_the_usual_gap(health: CameraHealth, clock: Clock) -> None:
    """The gap after the first picture is not taken for a stall."""
    health.connected(live=True, frame_seconds=5)
    health.frame()
    clock.now += 5
    assert shown(health) == (GREEN, "")
    clock.now += 11
    assert shown(health) == (YELLOW, "stalled")


def test_a_slow_camera_and_a_recording_are_not_taken_for_stalled(health: CameraHealth, clock: Clock) -> None:
    """One camera sends a picture every 5 s; a recording may wait for the analysis."""
    health.connected(live=True)
    for _ in range(3):
        health.frame()
        clock.now += 5
    assert shown(health) == (GREEN, "")
    health.connected(live=False)
    clock.now += 100
    assert shown(health) == (GREEN, "")


def test_posting_errors_make_the_camera_yellow_for_a_while(health: CameraHealth, clock: Clock) -> None:
    """Frames arrive, but sightings are lost."""
    health.frame()
    health.posting_failed("the upload server does not answer")
    assert shown(health) == (YELLOW, "posting")
    clock.now += 30
    health.frame()
    assert shown(health) == (GREEN, "")


def test_the_observer_is_called_for_changes_only(health: CameraHealth, states: States) -> None:
    """Not for every frame."""
    for _ in range(3):
        health.frame()
        health.refresh()
    health.failed(trouble())
    health.failed(trouble())
    health.frame()
    health.finished("stopped", "")
    assert states.seen == [(GREEN, ""), (YELLOW, "refused"), (GREEN, ""), (GREY, "stopped")]


def test_the_observer_gets_changes_in_order(clock: Clock) -> None:
    """Changes during a call of the observer wait; the last call has the current state."""
    told: list[CameraState] = []
    asking = threading.Event()

    class Slow(UnobservedCamera):
        def state(self, cam_id: str, state: CameraState, reason: str) -> None:
            if state is YELLOW:
                recovery.start()
                asking.wait(5)
                recovery.join(0.05)
            told.append(state)

    def recover() -> None:
        asking.set()
        health.frame()

    recovery = threading.Thread(target=recover)
    health = CameraHealth("hall", Slow(), clock)
    health.frame()
    health.failed(trouble())
    recovery.join(5)
    assert told == [GREEN, YELLOW, GREEN]


def test_trouble_is_logged_once_when_it_begins_and_once_when_it_ends(
    health: CameraHealth, clock: Clock
) -> None:
    """Regardless of the number of attempts."""
    health.frame()
    with capture_logs() as lines:
        for _ in range(10):
            health.failed(trouble())
            clock.now += 3
        health.frame()
    assert [(line["log_level"], line["event"]) for line in lines] == [
        ("warning", "camera gives no frames"),
        ("info", "camera is back"),
    ]
    assert lines[0]["reason"] == "refused"
    assert lines[1]["attempts"] == 10
    assert lines[1]["seconds_lost"] == 30


def test_long_trouble_is_logged_once_a_minute_with_a_count(health: CameraHealth, clock: Clock) -> None:
    """An hour of attempts every 3 s is about 60 lines, and the counts include all attempts."""
    with capture_logs() as lines:
        for _ in range(1200):
            health.failed(trouble())
            clock.now += 3
    assert len(lines) == 60
    assert sum(1 + line.get("failures_not_logged", 0) for line in lines) == pytest.approx(1200, abs=20)


def test_a_camera_that_comes_and_goes_does_not_flood_the_log(health: CameraHealth, clock: Clock) -> None:
    """Two hundred short failures in ten minutes are logged once a minute."""
    with capture_logs() as lines:
        for _ in range(200):
            health.frame()
            health.failed(trouble(Reason.ENDED))
            clock.now += 3
    assert len(lines) <= 2 * 11


def test_reading_the_state_neither_logs_nor_pushes(
    health: CameraHealth, states: States, clock: Clock
) -> None:
    """A frozen stream shows after the next refresh, whether or not the state was read before."""
    health.connected(live=True)
    health.frame()
    clock.now += 40
    with capture_logs() as lines:
        assert health.condition().state is GREEN
        assert (states.seen, lines) == ([(GREEN, "")], [])
        health.refresh()
    assert health.condition().state is RED
    assert states.seen == [(GREEN, ""), (RED, "stalled")]
    assert [line["event"] for line in lines] == ["camera gives no frames"]


def test_damage_is_pushed_with_the_picture_that_shows_it(
    health: CameraHealth, states: States, clock: Clock
) -> None:
    """Without waiting for a refresh."""
    health.connected(live=True)
    for _ in range(4):
        health.frame()
        health.damaged_frame()
    assert states.seen[-1] == (YELLOW, "corrupt")

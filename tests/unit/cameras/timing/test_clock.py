from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cameras.timing.clock import Stamp, StreamClock

START = 1_700_000_000.0
FRAME = 0.04


def play(
    frames: Iterable[tuple[float | None, float]], clock: StreamClock | None = None
) -> tuple[list[float], list[float]]:
    """Stamp (stream time, seconds of arrival after the start) pairs: capture times, media times."""
    clock = clock or StreamClock()
    stamps: list[Stamp] = [clock.stamp(reported, START + arrival, FRAME) for reported, arrival in frames]
    return [s.captured_at.timestamp() - START for s in stamps], [s.media_time for s in stamps]


def test_capture_times_follow_the_stream_not_the_jitter_of_arrival() -> None:
    """Frames that arrive unevenly have even capture times, based on the shortest delay."""
    jitter = [0.0, 0.03, 0.01, 0.08, 0.0, 0.05] * 20
    captured, media = play((9000 + i * FRAME, i * FRAME + late) for i, late in enumerate(jitter))
    assert all(later - earlier == pytest.approx(FRAME, abs=1e-3) for earlier, later in pairwise(captured))
    assert media[-1] == pytest.approx(119 * FRAME)


def test_a_burst_at_the_start_does_not_date_later_frames_into_the_future() -> None:
    """Frames that were buffered while connecting arrive in one moment."""
    burst = [(i * FRAME, 1.0) for i in range(25)]
    live = [(1.0 + i * FRAME, 1.0 + i * FRAME) for i in range(25)]
    captured, _ = play([*burst, *live])
    assert captured[-1] == pytest.approx(live[-1][1], abs=0.01)
    assert all(taken <= arrived + 1e-3 for taken, (_, arrived) in zip(captured, [*burst, *live], strict=True))


@pytest.mark.parametrize("jump", [-7200.0, -5.0, 3600.0, 26.5 * 3600])
def test_a_jump_of_the_streams_clock_is_not_followed(jump: float) -> None:
    """When a camera sets its clock, capture times change by a moment at most."""
    frames = [(i * FRAME + (jump if i >= 50 else 0), i * FRAME) for i in range(100)]
    captured, media = play(frames)
    assert captured[-1] == pytest.approx(99 * FRAME, abs=0.05)
    assert media[-1] == pytest.approx(99 * FRAME, abs=0.05)


def test_missing_and_repeated_timestamps_are_replaced_by_arrival_times() -> None:
    """A stream without timestamps gets those of its arrival."""
    captured, media = play([(None, 0), (None, 0.04), (5.0, 0.08), (5.0, 0.12), (5.08, 0.16)])
    assert captured == pytest.approx([0, 0.04, 0.08, 0.12, 0.16], abs=1e-3)
    assert media == pytest.approx([0, 0.04, 0.08, 0.12, 0.2], abs=0.05)


def test_capture_times_recover_after_a_pause_that_timestamps_do_not_show() -> None:
    """After a pause of 8 s, times are correct again within seconds."""
    frames = [(i * FRAME, i * FRAME + (8 if i >= 50 else 0)) for i in range(700)]
    captured, _ = play(frames)
    assert captured[-1] == pytest.approx(frames[-1][1], abs=0.1)


def test_a_network_delay_does_not_change_capture_times() -> None:
    """Frames that arrive late in a burst keep the times of their capture."""
    frames = [(i * FRAME, max(i * FRAME, 4.0 if 25 <= i < 100 else 0)) for i in range(200)]
    captured, _ = play(frames)
    assert captured[60] == pytest.approx(60 * FRAME, abs=0.01)


def test_clock_drift_is_followed() -> None:
    """After an hour with a camera clock that loses 100 ppm, the error is below 0.1 s."""
    frames = [(i * 0.5 * (1 - 100e-6), i * 0.5) for i in range(7200)]
    captured, _ = play(frames)
    assert captured[-1] == pytest.approx(frames[-1][1], abs=0.1)


def test_times_of_a_looped_recording_keep_growing() -> None:
    """The second round continues one frame after the end of the first."""
    clip = [(i * FRAME, 0.0) for i in range(50)]
    captured, media = play([*clip, *clip], StreamClock(follow_arrival=False))
    assert media == pytest.approx([i * FRAME for i in range(100)])
    assert captured == pytest.approx(media, abs=1e-3)


def test_a_jump_in_a_recordings_timestamps_counts_as_one_frame() -> None:
    """Ten hours in the timestamps are one frame in media time."""
    _, media = play([(0, 0), (0.04, 0), (36000, 0), (36000.04, 0)], StreamClock(follow_arrival=False))
    assert media == pytest.approx([0, 0.04, 0.08, 0.12])


def test_a_jump_counts_as_one_frame_despite_a_wrong_frame_rate() -> None:
    """The metadata derive the frame rate from the length, which includes the jump."""
    clock = StreamClock(follow_arrival=False)
    media = [clock.stamp(at, START, 6.4).media_time for at in (0, 0.04, 3600, 3600.04)]
    assert media == pytest.approx([0, 0.04, 0.08, 0.12])


def test_times_continue_after_a_reconnect_that_restarts_timestamps() -> None:
    """Media time includes the gap, and the capture time is that of arrival."""
    clock = StreamClock()
    play(((100 + i * FRAME, i * FRAME) for i in range(10)), clock)
    clock.reconnected()
    captured, media = play([(0, 20.0), (0.04, 20.04)], clock)
    assert captured == pytest.approx([20.0, 20.04], abs=0.01)
    assert media == pytest.approx([20.0, 20.04], abs=0.01)


@given(
    st.lists(st.tuples(st.none() | st.floats(-1e9, 1e9), st.floats(0, 100)), min_size=2, max_size=40),
    st.booleans(),
)
def test_times_never_decrease(frames: list[tuple[float | None, float]], live: bool) -> None:
    """For any timestamps and arrival times; capture times decrease only with the box's clock."""
    clock = StreamClock(follow_arrival=live)
    stamps = [clock.stamp(reported, START + arrival, FRAME) for reported, arrival in frames]
    assert all(
        later.captured_at >= earlier.captured_at or later.clock_was_set_back
        for earlier, later in pairwise(stamps)
    )
    assert all(later.media_time >= earlier.media_time for earlier, later in pairwise(stamps))
    assert stamps[0].media_time == 0


@pytest.mark.parametrize("step", [-3600.0, -60.0, -5.0])
@pytest.mark.parametrize("timestamps", [True, False])
@pytest.mark.parametrize("live", [True, False])
def test_a_clock_that_is_set_back_is_followed_at_once(step: float, timestamps: bool, live: bool) -> None:
    """With and without timestamps, live and recorded; media time continues."""
    clock = StreamClock(follow_arrival=live)
    stamps = []
    for i in range(100):
        arrival = START + i * FRAME + (step if i >= 50 else 0)
        stamps.append(clock.stamp(9 + i * FRAME if timestamps else None, arrival, FRAME))
    assert [i for i, stamp in enumerate(stamps) if stamp.clock_was_set_back] == [50]
    assert all(
        stamp.captured_seconds == pytest.approx(START + step + i * FRAME, abs=0.1)
        for i, stamp in enumerate(stamps)
        if i >= 50
    )
    assert all(later.media_time > earlier.media_time for earlier, later in pairwise(stamps))


def test_a_clock_that_is_set_back_while_the_camera_is_away_is_followed() -> None:
    """The camera's first frame has the new time."""
    clock = StreamClock()
    clock.stamp(1.0, START, FRAME)
    clock.reconnected()
    stamp = clock.stamp(77.0, START - 3500, FRAME)
    assert stamp.clock_was_set_back and stamp.captured_seconds == pytest.approx(START - 3500)


def test_a_small_correction_of_the_clock_does_not_count_as_set_back() -> None:
    """Capture times do not decrease meanwhile."""
    captured, _ = play((i * FRAME, i * FRAME - (0.5 if i >= 50 else 0)) for i in range(100))
    assert captured == sorted(captured)
    assert captured[-1] == pytest.approx(99 * FRAME - 0.5, abs=0.05)

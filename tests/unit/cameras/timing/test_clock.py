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


def test_capture_times_run_with_the_stream_not_with_the_jitter_of_arrival() -> None:
    """Frames that arrive unevenly are stamped evenly, by the one that came fastest."""
    jitter = [0.0, 0.03, 0.01, 0.08, 0.0, 0.05] * 20
    captured, media = play((9000 + i * FRAME, i * FRAME + late) for i, late in enumerate(jitter))
    assert all(later - earlier == pytest.approx(FRAME, abs=1e-3) for earlier, later in pairwise(captured))
    assert media[-1] == pytest.approx(119 * FRAME)


def test_a_burst_at_the_start_is_dated_back_once_live_frames_arrive() -> None:
    """Frames that were buffered while connecting arrive at once; later ones are not dated into the future."""
    burst = [(i * FRAME, 1.0) for i in range(25)]
    live = [(1.0 + i * FRAME, 1.0 + i * FRAME) for i in range(25)]
    captured, _ = play([*burst, *live])
    assert captured[-1] == pytest.approx(live[-1][1], abs=0.01)
    assert all(taken <= arrived + 1e-3 for taken, (_, arrived) in zip(captured, [*burst, *live], strict=True))


@pytest.mark.parametrize("jump", [-7200.0, -5.0, 3600.0, 26.5 * 3600])
def test_a_jump_of_the_streams_clock_is_not_followed(jump: float) -> None:
    """A camera that sets its clock does not move our times by more than a moment."""
    frames = [(i * FRAME + (jump if i >= 50 else 0), i * FRAME) for i in range(100)]
    captured, media = play(frames)
    assert captured[-1] == pytest.approx(99 * FRAME, abs=0.05)
    assert media[-1] == pytest.approx(99 * FRAME, abs=0.05)


def test_missing_and_repeated_timestamps_are_filled_in_from_arrival() -> None:
    """A stream without timestamps gets those of its arrival."""
    captured, media = play([(None, 0), (None, 0.04), (5.0, 0.08), (5.0, 0.12), (5.08, 0.16)])
    assert captured == pytest.approx([0, 0.04, 0.08, 0.12, 0.16], abs=1e-3)
    assert media == pytest.approx([0, 0.04, 0.08, 0.12, 0.2], abs=0.05)


def test_a_stream_that_froze_and_went_on_where_it_was_is_dated_right_again() -> None:
    """8 s of standstill that the stream's own time does not know of: after a while its times are right."""
    frames = [(i * FRAME, i * FRAME + (8 if i >= 50 else 0)) for i in range(700)]
    captured, _ = play(frames)
    assert captured[-1] == pytest.approx(frames[-1][1], abs=0.1)


def test_a_network_that_was_held_up_for_a_while_moves_nothing() -> None:
    """Frames that come late in a burst keep the times at which they were taken."""
    frames = [(i * FRAME, max(i * FRAME, 4.0 if 25 <= i < 100 else 0)) for i in range(200)]
    captured, _ = play(frames)
    assert captured[60] == pytest.approx(60 * FRAME, abs=0.01)


def test_a_slow_crystal_is_followed() -> None:
    """An hour of a camera whose clock loses 100 millionths: less than a tenth of a second off at its end."""
    frames = [(i * 0.5 * (1 - 100e-6), i * 0.5) for i in range(7200)]
    captured, _ = play(frames)
    assert captured[-1] == pytest.approx(frames[-1][1], abs=0.1)


def test_a_looped_recording_goes_on_growing() -> None:
    """The second time round continues one frame after the end of the first."""
    clip = [(i * FRAME, 0.0) for i in range(50)]
    captured, media = play([*clip, *clip], StreamClock(follow_arrival=False))
    assert media == pytest.approx([i * FRAME for i in range(100)])
    assert captured == pytest.approx(media, abs=1e-3)


def test_a_recording_whose_clock_jumps_is_not_waited_for() -> None:
    """Ten hours in a clip's timestamps are one frame in its media time."""
    _, media = play([(0, 0), (0.04, 0), (36000, 0), (36000.04, 0)], StreamClock(follow_arrival=False))
    assert media == pytest.approx([0, 0.04, 0.08, 0.12])


def test_a_jump_takes_one_frame_though_the_recording_says_that_frames_are_seconds_apart() -> None:
    """Its length, jump included, over the number of its frames is no frame rate."""
    clock = StreamClock(follow_arrival=False)
    media = [clock.stamp(at, START, 6.4).media_time for at in (0, 0.04, 3600, 3600.04)]
    assert media == pytest.approx([0, 0.04, 0.08, 0.12])


def test_times_go_on_after_a_reconnect_that_starts_at_zero_again() -> None:
    """Media time counts the gap too, and the capture time is that of arrival."""
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
def test_nothing_ever_goes_backwards(frames: list[tuple[float | None, float]], live: bool) -> None:
    """Whatever a stream says and whenever it arrives; capture times go back with the box's clock alone."""
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
    """With the stream's timestamps and without, live and recorded; media time goes on."""
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
    """Its first frame shows it."""
    clock = StreamClock()
    clock.stamp(1.0, START, FRAME)
    clock.reconnected()
    stamp = clock.stamp(77.0, START - 3500, FRAME)
    assert stamp.clock_was_set_back and stamp.captured_seconds == pytest.approx(START - 3500)


def test_a_small_correction_of_the_clock_ends_nothing() -> None:
    """Capture times wait for it instead."""
    captured, _ = play((i * FRAME, i * FRAME - (0.5 if i >= 50 else 0)) for i in range(100))
    assert captured == sorted(captured)
    assert captured[-1] == pytest.approx(99 * FRAME - 0.5, abs=0.05)

from collections.abc import Iterable

import pytest

from pipeline.frame_sampler import FrameSampler


def taken(rate: FrameSampler, times: Iterable[float], per_second: float) -> list[float]:
    """Which of the frames of these times are taken."""
    chosen = []
    for time in times:
        if rate.is_due(time, per_second):
            rate.record(time, per_second)
            chosen.append(time)
    return chosen


def frames(fps: float, seconds: float, start: float = 0.0) -> list[float]:
    return [start + number / fps for number in range(round(seconds * fps))]


@pytest.mark.parametrize("fps", [2, 7, 10, 11, 25, 30])
@pytest.mark.parametrize("start", [0.0, 1234.5])
def test_the_rate_is_held_for_any_frame_rate_of_the_camera(fps: float, start: float) -> None:
    """A slightly late frame does not delay the following ones."""
    assert len(taken(FrameSampler(), frames(fps, 20, start), 10)) == pytest.approx(min(fps, 10) * 20, abs=1)


def test_a_gap_restarts_the_interval() -> None:
    """Missed frames are not made up for by frames close together."""
    assert taken(FrameSampler(), [*frames(25, 0.2), *frames(25, 0.4, start=9.05)], 10) == pytest.approx(
        [0.0, 0.12, 9.05, 9.17, 9.25, 9.37]
    )


def test_a_higher_rate_takes_effect_at_once() -> None:
    """The next frame is due one new interval after the last selected one."""
    rate = FrameSampler()
    assert taken(rate, frames(25, 1), 2) == pytest.approx([0.0, 0.52])
    assert rate.is_due(0.6, 10) and not rate.is_due(0.6, 2)


def test_after_a_restart_the_next_frame_is_due() -> None:
    rate = FrameSampler()
    rate.record(100.0, 10)
    assert not rate.is_due(0.0, 10)
    rate.restart()
    assert rate.is_due(0.0, 10)

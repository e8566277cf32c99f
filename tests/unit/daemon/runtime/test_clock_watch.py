"""Steps of the box's clock."""

from structlog.testing import capture_logs

from daemon.runtime.clock_watch import ClockWatch


class Clocks:
    def __init__(self) -> None:
        self.wall, self.monotonic = 1_000_000.0, 50.0

    def run(self, seconds: float, step: float = 0.0) -> None:
        self.monotonic += seconds
        self.wall += seconds + step


def test_each_step_is_logged_and_counted_once() -> None:
    """Back and ahead."""
    clocks, steps = Clocks(), []
    watch = ClockWatch(steps.append, lambda: clocks.wall, lambda: clocks.monotonic)
    with capture_logs() as lines:
        for step in (0.0, -3600.0, 0.0, 0.0, 86400.0, 0.0):
            clocks.run(1.0, step)
            watch.check()
    assert steps == [-3600.0, 86400.0]
    assert [(line["event"], line["seconds"]) for line in lines] == [
        ("the clock was set back; visits in progress end", 3600.0),
        ("the clock was set ahead", 86400.0),
    ]


def test_corrections_by_ntp_are_no_steps() -> None:
    """Even if they add up to more."""
    clocks, steps = Clocks(), []
    watch = ClockWatch(steps.append, lambda: clocks.wall, lambda: clocks.monotonic)
    for _ in range(100):
        clocks.run(1.0, -0.1)
        watch.check()
    assert steps == []

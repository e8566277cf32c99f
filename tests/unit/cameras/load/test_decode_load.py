"""Detection of an overload from the time that a thread spends decoding."""

import threading

import pytest

from cameras.load.decode_load import DecodeLoad
from pipeline.base.backoff import Backoff


class Box:
    """A thread that decodes for a share of its time, ten times a second; its own clock."""

    def __init__(self, limiter: threading.BoundedSemaphore | None = None) -> None:
        self.now = 100.0
        backoff = Backoff(600, 3600, uniform=lambda: 1.0)
        self.decode_load = DecodeLoad(limiter, backoff, clock=lambda: self.now)

    def works(self, share: float, seconds: float) -> None:
        for _ in range(round(seconds * 10)):
            self.now += 0.1
            self.decode_load.record(0.1 * share)


def test_a_camera_that_keeps_up_is_neither_behind_nor_overloaded() -> None:
    box = Box()
    box.works(0.6, 3600)
    assert not box.decode_load.behind
    assert not box.decode_load.overloaded


def test_a_short_delay_is_no_overload() -> None:
    """Two seconds of decoding at full speed, as after a network outage."""
    box = Box()
    for _ in range(10):
        box.works(1.0, 2)
        box.works(0.2, 8)
        assert not box.decode_load.behind
        assert not box.decode_load.overloaded


def test_a_camera_that_decodes_all_the_time_is_overloaded() -> None:
    box = Box()
    box.works(0.9, 5.2)
    assert box.decode_load.behind
    assert not box.decode_load.overloaded
    box.works(0.9, 5.2)
    assert box.decode_load.overloaded


def test_a_slow_start_is_no_overload() -> None:
    """At the start all cameras, the store and the models compete for the processor."""
    box = Box()
    box.works(0.9, 5.2)
    box.works(0.5, 60)
    assert not box.decode_load.overloaded


def test_a_thread_that_skips_packets_counts_as_behind_until_it_has_spare_time() -> None:
    """Skipping saves time, so the threshold for keeping up is lower."""
    box = Box()
    box.works(0.9, 5.2)
    box.works(0.5, 60)
    assert box.decode_load.behind
    box.works(0.2, 10)
    assert not box.decode_load.behind


def test_each_overload_lasts_longer_than_the_one_before() -> None:
    """Ten minutes, twenty, at most an hour; after an hour without an overload ten minutes again."""
    box = Box()
    lasted = []
    for good_seconds in (0, 0, 0, 3700, 0):
        box.works(0.9, 15)
        began = box.now
        while box.decode_load.overloaded:
            box.works(0.1, 1)
        lasted.append(round((box.now - began) / 60))
        box.works(0.1, good_seconds)
    assert lasted == [10, 20, 40, 60, 10]


def test_a_camera_that_is_behind_waits_for_the_limiter() -> None:
    limiter = threading.BoundedSemaphore(1)
    box = Box(limiter)
    with box.decode_load.limit():
        assert limiter.acquire(blocking=False)
        limiter.release()
    box.works(0.9, 5.2)
    with box.decode_load.limit():
        assert not limiter.acquire(blocking=False)
    assert limiter.acquire(blocking=False)


@pytest.mark.parametrize("pause", [1.0, 60.0, 3600.0])
def test_a_camera_that_was_away_is_not_behind(pause: float) -> None:
    """Nothing is recorded meanwhile, but the time counts."""
    box = Box()
    box.works(0.5, 2)
    box.now += pause
    box.works(1.0, 2)
    assert not box.decode_load.behind

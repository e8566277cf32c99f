"""Pauses between attempts."""

from pipeline.base.backoff import Backoff


def test_pauses_grow_up_to_a_limit() -> None:
    """Each pause lies between half of the doubled one before and the whole of it, never above the limit."""
    backoff = Backoff(1, 8)
    for longest in (1, 2, 4, 8, 8, 8):
        assert longest / 2 <= backoff.pause_seconds() <= longest
    backoff.reset()
    assert backoff.pause_seconds() <= 1


def test_pauses_are_spread_by_chance() -> None:
    """Many boxes that fail together do not come back together."""
    assert len({Backoff(1, 8).pause_seconds() for _ in range(20)}) > 10

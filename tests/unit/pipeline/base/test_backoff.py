"""Exponential backoff."""

from pipeline.base.backoff import Backoff


def test_pauses_double_up_to_the_limit() -> None:
    """The limit also applies to the first pause."""
    backoff = Backoff(0.5, 3, uniform=lambda: 1.0)
    assert [backoff.pause_seconds() for _ in range(5)] == [0.5, 1, 2, 3, 3]
    assert Backoff(8, 3, uniform=lambda: 1.0).pause_seconds() == 3


def test_jitter_shortens_a_pause_by_up_to_half() -> None:
    """Cameras that fail together do not retry together, and never without a pause."""
    assert Backoff(0.5, 3, uniform=lambda: 0.0).pause_seconds() == 0.25
    assert len({Backoff(1, 8).pause_seconds() for _ in range(20)}) > 10


def test_pauses_never_overflow() -> None:
    """Also after years of failures."""
    backoff = Backoff(0.5, 3, uniform=lambda: 1.0)
    assert [backoff.pause_seconds() for _ in range(5000)][-1] == 3


def test_reset_starts_over_with_the_first_pause() -> None:
    """After a success the next failure is followed by a short pause."""
    backoff = Backoff(0.5, 3, uniform=lambda: 1.0)
    backoff.pause_seconds()
    backoff.pause_seconds()
    backoff.reset()
    assert backoff.pause_seconds() == 0.5

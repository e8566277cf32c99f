import pytest

from cameras.timing.backoff import Backoff


def test_waits_double_up_to_the_cap() -> None:
    """Half a second, one, two, and then never more than asked for."""
    backoff = Backoff(3.0, uniform=lambda: 1.0)
    assert [backoff.next_seconds() for _ in range(5)] == [0.5, 1, 2, 3, 3]


def test_chance_shortens_a_wait_by_half_at_most() -> None:
    """So that cameras which were lost together do not come back together, nor at once."""
    assert Backoff(3.0, uniform=lambda: 0.0).next_seconds() == 0.25
    backoff = Backoff(3.0)
    assert len({backoff.next_seconds() for _ in range(20)}) > 10


def test_it_goes_on_for_ever() -> None:
    """A camera that is down for a year does not overflow anything."""
    backoff = Backoff(3.0, uniform=lambda: 1.0)
    assert [backoff.next_seconds() for _ in range(5000)][-1] == pytest.approx(3.0)


def test_a_reset_begins_anew() -> None:
    """After steady frames the next trouble gets a quick attempt again."""
    backoff = Backoff(3.0, uniform=lambda: 1.0)
    backoff.next_seconds()
    backoff.next_seconds()
    backoff.reset()
    assert backoff.next_seconds() == 0.5

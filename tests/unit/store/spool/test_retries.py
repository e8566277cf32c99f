"""When a failed sighting is retried, and when it is given up."""

import pytest

from store.errors import NotFoundError, PictureRefusedError, StoreError, StoreUnavailableError, UploadError
from store.spool import retries as module
from store.spool.retries import MAX_IN_PLACE, MAX_STRIKES, MIN_DIFFERENT, Retries


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_errors_of_the_store_are_retried_in_place_first(clock: Clock) -> None:
    """The oldest sighting is retried a few times, to keep the order; then another one is tried."""
    retries = Retries(1, 30)
    for _ in range(MAX_IN_PLACE - 1):
        failure = retries.failed("a", StoreUnavailableError("away"))
        assert (failure.of_store, failure.in_place, failure.hopeless) == (True, True, False)
        assert not retries.not_due()
    assert not retries.failed("a", StoreUnavailableError("away")).in_place
    assert retries.not_due() == {"a"}


def test_errors_of_the_store_are_due_once_another_is_stored(clock: Clock) -> None:
    """After an outage no sighting waits for its own pause."""
    retries = Retries(1, 30)
    for _ in range(MAX_IN_PLACE):
        retries.failed("a", StoreUnavailableError("away"))
    retries.stored("b")
    assert not retries.not_due()


def test_retry_after_is_the_earliest_time(clock: Clock) -> None:
    """Also if the sighting's own pause is shorter."""
    retries = Retries(1, 30)
    retries.failed("a", UploadError("busy", 100.0))
    clock.now += 99
    assert retries.not_due() == {"a"}
    clock.now += 2
    assert not retries.not_due()


def test_a_store_error_of_one_sighting_is_given_up_after_a_day(clock: Clock) -> None:
    """Such as 403 for one picture, while all others are stored."""
    retries = Retries(1, 30)
    end = clock.now + module.KNOWN_TROUBLE_SECONDS
    for number in range(2 * MAX_STRIKES):
        assert not retries.failed("a", UploadError("403")).hopeless
        retries.stored(f"other {number}")
        clock.now += 600
    assert not retries.failed("a", UploadError("403")).of_store
    retries.stored("one more")
    clock.now = end
    assert retries.failed("a", UploadError("403")).hopeless
    assert len(retries) == 0


def test_unknown_errors_count_only_while_others_are_stored(clock: Clock) -> None:
    """Ten failures, with another sighting stored between each two."""
    retries = Retries(1, 30)
    for _ in range(3 * MAX_STRIKES):
        assert not retries.failed("a", StoreError("odd")).hopeless
    for number in range(MAX_STRIKES - 1):
        retries.stored(f"other {number}")
        assert not retries.failed("a", StoreError("odd")).hopeless
    retries.stored("the last")
    assert retries.failed("a", StoreError("odd")).hopeless


def test_failures_of_different_sightings_are_a_fault_of_the_store(clock: Clock) -> None:
    """Whatever the errors; repeated failures of one sighting are not."""
    retries = Retries(1, 30)
    for _ in range(5):
        assert not retries.failed("a", NotFoundError("gone")).of_store
    for name in "bcdefg"[: MIN_DIFFERENT - 2]:
        assert not retries.failed(name, NotFoundError("gone")).of_store
    assert retries.failed("z", NotFoundError("gone")).of_store


def test_refusals_in_a_row_are_not_all_given_up(clock: Clock) -> None:
    """From the third on, sightings wait until another one was stored."""
    retries = Retries(1, 30)
    refused = PictureRefusedError("413")
    assert [retries.failed(name, refused).hopeless for name in "abcd"] == [True, True, False, False]
    assert not retries.failed("c", refused).hopeless
    retries.stored("e")
    assert retries.failed("c", refused).hopeless

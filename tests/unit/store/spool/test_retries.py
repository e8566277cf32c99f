"""When a sighting that failed is tried again, and when it is given up."""

import pytest

from store.errors import NotFoundError, PictureRefusedError, StoreError, StoreUnavailableError, UploadError
from store.spool import retries as module
from store.spool.retries import DIFFERENT, IN_PLACE, STRIKES, Retries


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


def test_trouble_of_the_store_is_tried_in_place_first(clock: Clock) -> None:
    """The oldest sighting is tried a few times, so that the order stays; then another one is."""
    retries = Retries(1, 30)
    for _ in range(IN_PLACE - 1):
        failure = retries.failed("a", StoreUnavailableError("away"))
        assert (failure.of_store, failure.in_place, failure.hopeless) == (True, True, False)
        assert not retries.not_due()
    assert not retries.failed("a", StoreUnavailableError("away")).in_place
    assert retries.not_due() == {"a"}


def test_what_the_store_did_is_due_as_soon_as_one_is_stored(clock: Clock) -> None:
    """After an outage nobody waits for a pause of its own."""
    retries = Retries(1, 30)
    for _ in range(IN_PLACE):
        retries.failed("a", StoreUnavailableError("away"))
    retries.stored("b")
    assert not retries.not_due()


def test_retry_after_is_the_earliest_time(clock: Clock) -> None:
    """Also where the pause of its own would be shorter."""
    retries = Retries(1, 30)
    retries.failed("a", UploadError("busy", 100.0))
    clock.now += 99
    assert retries.not_due() == {"a"}
    clock.now += 2
    assert not retries.not_due()


def test_known_trouble_of_one_alone_is_given_up_after_a_day(clock: Clock) -> None:
    """403 for one picture, while all others are stored: it does not hold them up, and waits for a day."""
    retries = Retries(1, 30)
    end = clock.now + module.KNOWN_TROUBLE_SECONDS
    for number in range(2 * STRIKES):
        assert not retries.failed("a", UploadError("403")).hopeless
        retries.stored(f"other {number}")
        clock.now += 600
    assert not retries.failed("a", UploadError("403")).of_store
    retries.stored("one more")
    clock.now = end
    assert retries.failed("a", UploadError("403")).hopeless
    assert len(retries) == 0


def test_an_unforeseen_reason_counts_only_while_others_are_stored(clock: Clock) -> None:
    """Ten failures with one stored between each two; without, any number of failures."""
    retries = Retries(1, 30)
    for _ in range(3 * STRIKES):
        assert not retries.failed("a", StoreError("odd")).hopeless
    for number in range(STRIKES - 1):
        retries.stored(f"other {number}")
        assert not retries.failed("a", StoreError("odd")).hopeless
    retries.stored("the last")
    assert retries.failed("a", StoreError("odd")).hopeless


def test_different_sightings_in_a_row_are_the_stores_trouble(clock: Clock) -> None:
    """Whatever the errors say; one sighting that fails again and again is not."""
    retries = Retries(1, 30)
    for _ in range(5):
        assert not retries.failed("a", NotFoundError("gone")).of_store
    for name in "bcdefg"[: DIFFERENT - 2]:
        assert not retries.failed(name, NotFoundError("gone")).of_store
    assert retries.failed("z", NotFoundError("gone")).of_store


def test_a_row_of_refusals_is_no_reason_to_give_up(clock: Clock) -> None:
    """The first ones are given up, from the third on they wait until another one was stored."""
    retries = Retries(1, 30)
    refused = PictureRefusedError("413")
    assert [retries.failed(name, refused).hopeless for name in "abcd"] == [True, True, False, False]
    assert not retries.failed("c", refused).hopeless
    retries.stored("e")
    assert retries.failed("c", refused).hopeless

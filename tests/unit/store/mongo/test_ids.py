"""Ids of faces."""

import threading

from hypothesis import given
from hypothesis import strategies as st

from store.mongo.ids import TIME_SHIFT, TimeOrderedIds, first_id_of


@given(st.lists(st.integers(min_value=0, max_value=2**41), min_size=1, max_size=50))
def test_ids_increase_regardless_of_the_clock(clock: list[int]) -> None:
    """If it jumps back, jumps ahead or stops, ids increase and stay below 2^63."""
    times = iter(clock)
    ids = TimeOrderedIds(lambda: next(times))
    made = [ids.next() for _ in clock]
    assert made == sorted(set(made))
    assert 0 <= made[-1] < 2**63


def test_ids_stay_different_when_a_millisecond_is_full() -> None:
    """Further ids use the following milliseconds."""
    ids = TimeOrderedIds(lambda: 1_000)
    made = [ids.next() for _ in range(10_000)]
    assert made == sorted(set(made))


def test_first_id_of_bounds_the_ids_of_a_time() -> None:
    """Ids generated at a time are at least the first id of that time, and below that of the next."""
    ids = TimeOrderedIds(lambda: 1_700_000_000_000)
    assert first_id_of(1_700_000_000_000) <= ids.next() < first_id_of(1_700_000_000_001)
    assert ids.next() >> TIME_SHIFT == 1_700_000_000_000


def test_threads_get_different_ids() -> None:
    """Eight threads never get the same id."""
    ids = TimeOrderedIds()
    made: list[int] = []
    threads = [
        threading.Thread(target=lambda: made.extend([ids.next() for _ in range(500)])) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 4000

"""The index from ids to rows, compared with a dictionary."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.facens.engine import row_index
from store.facens.engine.row_index import GOLDEN, RowIndex

NEIGHBOURS = [number * pow(GOLDEN, -1, 1 << 64) % (1 << 63) for number in range(40)]
"""Ids whose hashes lie close together: they all want the same few places."""
IDS = st.one_of(st.sampled_from(NEIGHBOURS), st.integers(0, 60), st.integers(0, 2**63 - 1))


@given(st.lists(st.tuples(st.booleans(), IDS), max_size=300))
def test_any_sequence_of_changes_agrees_with_a_dictionary(steps: list[tuple[bool, int]]) -> None:
    """Each id has its latest row, and removed ids have none."""
    index, plain = RowIndex(), dict[int, int]()
    for row, (put, face_id) in enumerate(steps):
        if put:
            index.set(face_id, row)
            plain[face_id] = row
        elif face_id in plain:
            assert index.remove(face_id) == plain.pop(face_id)
        assert index.get(face_id) == plain.get(face_id)
        assert len(index) == len(plain)
    for face_id in {*plain, *(face_id for _, face_id in steps)}:
        assert index.get(face_id) == plain.get(face_id)


def test_keeps_rows_across_splits_and_removals() -> None:
    """From one table to many, built at once or by single additions."""
    rng = np.random.default_rng(0)
    ids = rng.choice(2**63 - 1, 20_000, replace=False).astype(np.int64)
    ids[:5000] = np.arange(5000)  # ids made in a row, too
    ids = np.unique(ids)
    at_once, grown = RowIndex.from_ids(ids), RowIndex()
    for row, face_id in enumerate(ids.tolist()):
        grown.set(face_id, row)
    for index in (at_once, grown):
        for row, face_id in enumerate(ids.tolist()):
            if row % 2:
                assert index.remove(face_id) == row
        assert len(index) == (len(ids) + 1) // 2
        assert [index.get(face_id) for face_id in ids.tolist()] == [
            None if row % 2 else row for row in range(len(ids))
        ]


def test_an_addition_moves_a_bounded_number_of_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few thousand, for any size of the index."""
    moved: list[int] = []
    made = row_index._Table.build

    def noted(ids: np.ndarray, rows: np.ndarray, depth: int) -> row_index._Table:
        moved.append(len(ids))
        return made(ids, rows, depth)

    monkeypatch.setattr(row_index._Table, "build", noted)
    index = RowIndex()
    for face_id in range(50_000):
        index.set(face_id * 7919, face_id)
    assert max(moved) < 4096
    assert [index.get(face_id * 7919) for face_id in range(0, 50_000, 999)] == list(range(0, 50_000, 999))
    assert index.nbytes < 40 * len(index)

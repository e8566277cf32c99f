"""The index from ids to rows of a gallery: open addressing with linear probing, in plain arrays.

A dict would take about 110 bytes per id, a fifth of a facen; this takes 18 to 36. A full table of a few
thousand ids is split in two (extendible hashing, Fagin et al., ACM TODS 4, 1979), so that an addition moves
only a bounded number of ids. A removal moves following entries back (Knuth, The Art of Computer Programming,
volume 3, section 6.4, algorithm R), so that no tombstones are needed.
"""

import numpy as np
from numpy.typing import NDArray

EMPTY = -1
"""Marks a free slot; ids are never negative."""
FIRST_SLOTS = 32
SPLIT_AT = 2048
"""A full table with fewer ids grows; one with more is split."""
MAX_DEPTH = 16
"""At most 65,536 tables; beyond that, tables grow."""
GOLDEN = 0x9E3779B97F4A7C15
"""2^64 divided by the golden ratio, for Fibonacci hashing (Knuth, ibid.)."""
BITS_64 = (1 << 64) - 1
HOME_SHIFT = 20
"""The bits from this one up select the slot; the leading bits select the table."""


def hashes(ids: NDArray[np.int64]) -> NDArray[np.uint64]:
    return ids.view(np.uint64) * np.uint64(GOLDEN)


class _Table:
    def __init__(self, slots: int, depth: int = 0) -> None:
        self.count = 0
        self.depth = depth
        """Number of leading bits that the hashes of all its ids share."""
        self._mask = slots - 1
        self._ids = np.full(slots, EMPTY, dtype=np.int64)
        self._rows = np.empty(slots, dtype=np.int32)
        # Access to single elements is several times faster through memoryviews.
        self._id_at, self._row_at = memoryview(self._ids.data), memoryview(self._rows.data)

    @classmethod
    def build(cls, ids: NDArray[np.int64], rows: NDArray[np.int32], depth: int) -> "_Table":
        """A table of these ids, with space for another id."""
        slots = FIRST_SLOTS
        while (len(ids) + 1) * 3 > slots * 2:
            slots *= 2
        table = cls(slots, depth)
        table.count = len(ids)
        slots_of = ((hashes(ids) >> np.uint64(HOME_SHIFT)) & np.uint64(table._mask)).astype(np.int64)
        while len(ids):
            free = table._ids[slots_of] == EMPTY
            table._ids[slots_of[free]] = ids[free]
            stored = table._ids[slots_of] == ids  # of several ids with the same slot, one is stored
            table._rows[slots_of[stored]] = rows[stored]
            left = ~stored
            ids, rows, slots_of = ids[left], rows[left], (slots_of[left] + 1) & table._mask
        return table

    @property
    def nbytes(self) -> int:
        return self._ids.nbytes + self._rows.nbytes

    def items(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        used = self._ids != EMPTY
        return self._ids[used], self._rows[used]

    def slot(self, face_id: int, hashed: int) -> int:
        """The slot of the id, or the free slot where it would be stored."""
        id_at, mask = self._id_at, self._mask
        slot = hashed >> HOME_SHIFT & mask
        while (found := id_at[slot]) != EMPTY and found != face_id:
            slot = (slot + 1) & mask
        return slot

    def row(self, slot: int) -> int | None:
        return self._row_at[slot] if self._id_at[slot] != EMPTY else None

    def put(self, slot: int, face_id: int, row: int) -> None:
        if self._id_at[slot] == EMPTY:
            self._id_at[slot] = face_id
            self.count += 1
        self._row_at[slot] = row

    def is_full(self) -> bool:
        return (self.count + 1) * 3 > (self._mask + 1) * 2

    def free(self, slot: int) -> None:
        """Empty the slot, and move following entries back."""
        id_at, row_at, mask = self._id_at, self._row_at, self._mask
        hole = follower = slot
        while (face_id := id_at[follower := (follower + 1) & mask]) != EMPTY:
            home = (face_id * GOLDEN & BITS_64) >> HOME_SHIFT & mask
            if (follower - home) & mask >= (follower - hole) & mask:
                id_at[hole], row_at[hole] = face_id, row_at[follower]
                hole = follower
        id_at[hole] = EMPTY
        self.count -= 1


class RowIndex:
    """Maps ids (0 to 2^63 − 1) to rows (below 2^31). Not thread-safe."""

    def __init__(self) -> None:
        self._depth = 0
        self._tables = [_Table(FIRST_SLOTS)]
        """Indexed by the leading `_depth` bits of the hash. A table of lower depth is listed several
        times."""
        self._count = 0

    @classmethod
    def from_ids(cls, ids: NDArray[np.int64]) -> "RowIndex":
        """The index of distinct ids, whose rows are 0, 1, 2 …"""
        index = cls()
        index._count = len(ids)
        index._depth = depth = min(MAX_DEPTH, (len(ids) // SPLIT_AT).bit_length())
        numbers = (hashes(ids) >> np.uint64(48)).astype(np.int64) >> (16 - depth)
        order = np.argsort(numbers, kind="stable").astype(np.int32)
        bounds = np.searchsorted(numbers[order], np.arange(1, 1 << depth))
        index._tables = [_Table.build(ids[rows], rows, depth) for rows in np.split(order, bounds)]
        return index

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        return sum(table.nbytes for table in set(self._tables))

    def get(self, face_id: int) -> int | None:
        table, hashed = self._table(face_id)
        return table.row(table.slot(face_id, hashed))

    def set(self, face_id: int, row: int) -> None:
        table, hashed = self._table(face_id)
        if table.is_full():
            self._grow(hashed)
            table, hashed = self._table(face_id)
        before = table.count
        table.put(table.slot(face_id, hashed), face_id, row)
        self._count += table.count - before

    def remove(self, face_id: int) -> int:
        """Remove an id; returns its row. KeyError if it does not exist."""
        table, hashed = self._table(face_id)
        slot = table.slot(face_id, hashed)
        if (row := table.row(slot)) is None:
            raise KeyError(face_id)
        table.free(slot)
        self._count -= 1
        return row

    def _table(self, face_id: int) -> tuple[_Table, int]:
        hashed = face_id * GOLDEN & BITS_64
        return self._tables[hashed >> 64 - self._depth], hashed

    def _grow(self, hashed: int) -> None:
        """Replace the full table of this hash with a larger one, or with two."""
        table = self._tables[hashed >> 64 - self._depth]
        ids, rows = table.items()
        if table.count < SPLIT_AT or table.depth == MAX_DEPTH:
            parts = [_Table.build(ids, rows, table.depth)]
        else:
            if table.depth == self._depth:
                self._tables = [table for table in self._tables for _ in range(2)]
                self._depth += 1
            upper = (hashes(ids) >> np.uint64(63 - table.depth) & np.uint64(1)).astype(np.bool_)
            parts = [_Table.build(ids[half], rows[half], table.depth + 1) for half in (~upper, upper)]
        copies = 1 << self._depth - table.depth
        first = (hashed >> 64 - table.depth) * copies
        self._tables[first : first + copies] = [part for part in parts for _ in range(copies // len(parts))]

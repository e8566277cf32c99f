"""The facens of one gallery, in blocks of a few megabytes.

A gallery grows by whole blocks without copying, so that additions are fast and little memory is unused.
Searches read a view of the gallery at their start: new rows are appended behind it, and a block that a view
uses is copied before a removal changes it (copy on write).
"""

import mmap as system
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pipeline.types import Facen
from store.facens.engine.row_index import RowIndex
from store.facens.storage import VALUE_TOLERANCE, Comparison

BLOCK_BYTES = HUGE_PAGE = 2 * 1024 * 1024
"""Block size for float32: large enough to search at memory speed, small enough to copy in a millisecond."""
FIRST_ROWS = 16
ROWS_AHEAD = 64
"""Rows before the end at which a gallery requests its next block."""
HALF_SCALE = 32767

MADV_HUGEPAGE: int | None = getattr(system, "MADV_HUGEPAGE", None)
"""Defined on Linux only."""

Stored = NDArray[np.float32 | np.int16]


class Precision(StrEnum):
    """The format of stored facens."""

    FULL = "full"
    """float32."""
    HALF = "half"
    """int16, evenly spaced from −1 to 1: half the memory; the error of a cosine is below 0.0001."""

    @classmethod
    def from_dtype(cls, stored: Stored) -> "Precision":
        return cls.FULL if stored.dtype == np.float32 else cls.HALF

    @property
    def dtype(self) -> type[np.float32] | type[np.int16]:
        return np.float32 if self is Precision.FULL else np.int16

    @property
    def scale(self) -> float:
        """Stored values are the facen's values times this factor."""
        return 1 if self is Precision.FULL else HALF_SCALE

    def to_stored(self, facen: Facen) -> Stored:
        if self is Precision.FULL:
            return facen
        return np.asarray(np.clip(np.rint(facen * HALF_SCALE), -HALF_SCALE, HALF_SCALE), dtype=np.int16)


def uninitialised(rows: int, size: int, precision: Precision) -> Stored:
    """An uninitialised array of shape (rows, size). Large ones are aligned to huge pages, where available.

    The padding of the mapping is never touched and takes no memory. This would not hold for the heap, where
    the system may extend huge pages over touched memory.
    """
    nbytes = rows * size * np.dtype(precision.dtype).itemsize
    if nbytes < HUGE_PAGE:
        return np.empty((rows, size), dtype=precision.dtype)
    pages = system.mmap(-1, nbytes + HUGE_PAGE, flags=system.MAP_PRIVATE | system.MAP_ANONYMOUS)
    raw = np.frombuffer(pages, dtype=np.uint8)
    start = -raw.ctypes.data % HUGE_PAGE
    if MADV_HUGEPAGE is not None:
        with suppress(OSError):  # a kernel without huge pages
            pages.madvise(MADV_HUGEPAGE, start, nbytes)
    array: Stored = raw[start : start + nbytes].view(precision.dtype)
    return array.reshape(rows, size)


@dataclass(slots=True)
class Block:
    vectors: Stored
    """(capacity, size)"""
    ids: NDArray[np.int64]

    @classmethod
    def empty(cls, rows: int, size: int, precision: Precision) -> "Block":
        return cls(uninitialised(rows, size, precision), np.empty(rows, dtype=np.int64))

    @classmethod
    def prefaulted(cls, rows: int, size: int, precision: Precision) -> "Block":
        """As `empty`, with all pages mapped. Call it in a thread: mapping may take milliseconds."""
        block = cls.empty(rows, size, precision)
        block.vectors.fill(0)
        block.ids.fill(0)
        return block

    def copy_rows(self, rows: int, into: "Block") -> "Block":
        """Copy the first rows into the other block; returns it."""
        into.vectors[:rows], into.ids[:rows] = self.vectors[:rows], self.ids[:rows]
        return into


@dataclass(frozen=True, slots=True)
class GalleryView:
    """The rows of a gallery at one moment, in blocks."""

    blocks: Sequence[Block]
    count: int
    precision: Precision

    def ids(self) -> NDArray[np.int64]:
        return np.concatenate([block.ids for block in self.blocks]) if self.blocks else np.empty(0, np.int64)


def pick_rows(blocks: Sequence[Block], rows: NDArray[np.intp]) -> Stored:
    """Copy these sorted rows. All blocks except the last are as long as the first."""
    first = blocks[0].vectors
    copy = np.empty((len(rows), first.shape[1]), dtype=first.dtype)
    numbers, inside = np.divmod(rows, len(first))
    if len(rows) < len(blocks):  # about one per block: numpy's small copies take twice as long
        for position, (number, row) in enumerate(zip(numbers.tolist(), inside.tolist(), strict=True)):
            copy[position] = blocks[number].vectors[row]
    else:
        bounds = np.flatnonzero(np.diff(numbers, prepend=-1, append=-1))
        for start, end in pairwise(bounds.tolist()):
            copy[start:end] = blocks[numbers[start]].vectors[inside[start:end]]
    return copy


def rows_in_block(size: int) -> int:
    """Facens of `size` numbers per block: a power of two."""
    return 1 << max(6, (BLOCK_BYTES // (4 * size)).bit_length() - 1)


class GalleryArray:
    """Ids and facens, added and removed in constant time. Only one thread may change it."""

    def __init__(self, size: int, precision: Precision = Precision.FULL) -> None:
        self._size = size
        self._precision = precision
        self._block_rows = rows_in_block(size)
        self._blocks: list[Block] = []
        self._index = RowIndex()
        self._count = 0
        self._readers = 0
        self._shared_rows = 0
        """Readers may use the rows before this one; their blocks are copied before a change."""
        self._copied: set[int] = set()
        """Blocks that were copied since the newest reader began, and may be changed."""
        self._spare: Block | None = None
        """A reserved block, with its pages mapped."""
        self.listeners: list[Callable[[int], None]] = []
        """Called with the number of each written row."""

    @classmethod
    def from_blocks(cls, size: int, precision: Precision, blocks: Sequence[Block]) -> "GalleryArray":
        """A gallery of blocks of `rows_in_block` facens each; the last one may have fewer."""
        array = cls(size, precision)
        array._blocks = list(blocks)
        array._count = sum(len(block.ids) for block in blocks)
        array._index = RowIndex.from_ids(array.view().ids())
        return array

    def __len__(self) -> int:
        return self._count

    def __contains__(self, face_id: int) -> bool:
        return self._index.get(face_id) is not None

    @property
    def nbytes(self) -> int:
        """Bytes of facens, ids and index, including the reserved block."""
        blocks = self._blocks if self._spare is None else [*self._blocks, self._spare]
        return sum(block.vectors.nbytes + block.ids.nbytes for block in blocks) + self._index.nbytes

    @property
    def needs_block(self) -> bool:
        """Whether the next changes may need another block, which must be reserved first."""
        return self._spare is None and self._is_large and (self._is_nearly_full or self._readers > 0)

    @property
    def _capacity(self) -> int:
        if not self._blocks:
            return 0
        return (len(self._blocks) - 1) * self._block_rows + len(self._blocks[-1].ids)

    @property
    def _is_large(self) -> bool:
        """Whether the next block has the full size."""
        return 2 * self._capacity >= self._block_rows

    @property
    def _is_nearly_full(self) -> bool:
        return self._capacity - self._count < ROWS_AHEAD

    def new_block(self) -> Block:
        """A block for `reserve`. Can be called in any thread."""
        return Block.prefaulted(self._block_rows, self._size, self._precision)

    def reserve(self, block: Block) -> None:
        self._spare = block

    def add(self, face_id: int, facen: Facen) -> None:
        """Add a face whose id is not in the gallery."""
        number, row = divmod(self._count, self._block_rows)
        if number == len(self._blocks):
            self._blocks.append(self._new(self._block_rows if number else FIRST_ROWS))
        elif row == len(self._blocks[number].ids):
            rows = min(self._block_rows, max(FIRST_ROWS, 2 * row))
            self._blocks[number] = self._blocks[number].copy_rows(row, self._new(rows))
        self._put(self._count, face_id, self._precision.to_stored(facen))
        self._count += 1

    def remove(self, face_id: int) -> None:
        """Remove a face; the last row takes its place. KeyError if the id does not exist."""
        row = self._index.remove(face_id)
        last = self._count - 1
        if row != last:
            number, inside = divmod(last, self._block_rows)
            block = self._blocks[number]
            self._put(row, int(block.ids[inside]), block.vectors[inside])
        self._count = last
        self._shrink()

    def view(self) -> GalleryView:
        """All rows. Valid until a row is removed; see `begin_reading`."""
        full, rows = divmod(self._count, self._block_rows)
        blocks = self._blocks[:full]
        if rows:
            last = self._blocks[full]
            blocks.append(Block(last.vectors[:rows], last.ids[:rows]))
        return GalleryView(blocks, self._count, self._precision)

    def pick(self, allowed: Iterable[int]) -> GalleryView:
        """Copy the rows of those ids that are in the gallery."""
        found = {row: face_id for face_id in allowed if (row := self._index.get(face_id)) is not None}
        if not found:
            return GalleryView([], 0, self._precision)
        rows = np.array(sorted(found), dtype=np.intp)
        ids = np.array([found[row] for row in rows.tolist()], dtype=np.int64)
        return GalleryView([Block(pick_rows(self._blocks, rows), ids)], len(rows), self._precision)

    def compare(self, facens: Mapping[int, Facen]) -> Comparison:
        """Compare these facens with the rows of their ids."""
        comparable = {face_id: facen for face_id, facen in facens.items() if len(facen) == self._size}
        other = [face_id for face_id in facens if face_id not in comparable and face_id in self]
        same = 0
        for block in self.pick(comparable).blocks:
            expected = np.stack([comparable[face_id] for face_id in block.ids.tolist()])
            differs = np.abs(block.vectors / self._precision.scale - expected).max(axis=1) > VALUE_TOLERANCE
            other += block.ids[differs].tolist()
            same += len(differs) - int(differs.sum())
        return Comparison(same, other)

    def begin_reading(self) -> GalleryView:
        """As `view`, valid until `end_reading`."""
        self._readers += 1
        self._shared_rows = max(self._shared_rows, self._count)
        self._copied.clear()
        return self.view()

    def end_reading(self) -> None:
        self._readers -= 1
        if not self._readers:
            self._shared_rows = 0
            self._copied.clear()
            if not self._is_nearly_full:
                self._spare = None

    def _new(self, rows: int) -> Block:
        if self._spare is not None and rows == self._block_rows:
            block, self._spare = self._spare, None
            return block
        return Block.empty(rows, self._size, self._precision)

    def _put(self, row: int, face_id: int, stored: Stored) -> None:
        number, inside = divmod(row, self._block_rows)
        if row < self._shared_rows and number not in self._copied:
            block = self._blocks[number]
            rows = min(self._count - number * self._block_rows, len(block.ids))
            self._blocks[number] = block.copy_rows(rows, self._new(len(block.ids)))
            self._copied.add(number)
        block = self._blocks[number]
        block.vectors[inside] = stored
        block.ids[inside] = face_id
        self._index.set(face_id, row)
        for on_written in self.listeners:
            on_written(row)

    def _shrink(self) -> None:
        """Keep at most one empty block. A single block keeps at most three quarters unused."""
        used = -(-self._count // self._block_rows)
        del self._blocks[used + 1 :]
        if used <= 1 and self._blocks:
            rows = len(self._blocks[0].ids)
            if rows > FIRST_ROWS and rows > 4 * self._count:
                self._blocks[0] = self._blocks[0].copy_rows(
                    self._count, self._new(max(FIRST_ROWS, rows // 2))
                )
                del self._blocks[1:]
                self._spare = None

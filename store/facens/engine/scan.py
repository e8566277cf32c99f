"""The exact search: every facen of a view is compared, and the best of each query kept.

One query is a matrix-vector product a block, which is as fast as memory can be read; several queries
are a matrix product, which reads every block once for all of them.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from pipeline.faces.facen import confidence, cosine
from store.facens.engine.gallery_array import Block, Precision, Stored, View, rows_in_block
from store.facens.engine.row_index import hashes
from store.facens.storage import FacenHit, id_array

SLACK = 1e-6
"""Rounding of float32: a facen compared with itself has to reach a threshold of 1."""
HALF_SLACK = 1e-4
FAISS_FROM = 100_000
"""Number of facens from which faiss computes the product of one query. It takes 0.9 of the time of numpy,
which reads four facens at once."""
COSINES_AT_ONCE = 1 << 19
"""So many are counted before the best of them are looked for, which takes longer block by block: each time it
finds the processor's cache full of facens."""
FIRST_ALLOWED = 1 << 13
"""Where each near one has to be looked for among the allowed ids, it begins with so many cosines and doubles
them: the more were seen, the fewer are near."""
GROUP = 64
"""Cosines per group; groups whose largest is too low are skipped."""
NEVER_NEAR = -2
"""Less than any cosine."""
SPARSE = 8
"""Where fewer than one in so many rows may be allowed, only these are compared: to gather a facen takes as
long as to read eight in a row."""

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


class Allowed:
    """The ids that a search is limited to."""

    def __init__(self, ids: Iterable[int], count: int) -> None:
        """`count`: of how many facens these are a choice."""
        self._ids = np.sort(id_array(ids))
        self.few = len(self._ids) * SPARSE < count
        """Whether it is worth while to look for their facens, instead of looking at all."""
        if self.few:
            bits = max(10, (16 * len(self._ids)).bit_length())
            self._shift = np.uint64(64 - bits)
            self._maybe = np.zeros(1 << bits, dtype=np.bool_)
            self._maybe[hashes(self._ids) >> self._shift] = True

    def candidates(self, ids: Ints) -> NDArray[np.intp]:
        """The places of all that are allowed and of a few that are not, by some bits of the ids' hashes. Only
        where they are few."""
        return np.flatnonzero(self._maybe[hashes(ids) >> self._shift])

    def among(self, ids: Ints) -> NDArray[np.intp]:
        """The places of those that are allowed, and of no other."""
        if not len(self._ids):
            return np.empty(0, dtype=np.intp)
        found = np.minimum(np.searchsorted(self._ids, ids), len(self._ids) - 1)
        return np.flatnonzero(self._ids[found] == ids)


def search(
    view: View, queries: Floats, limit: int, threshold: float, allowed: Allowed | None = None
) -> list[list[FacenHit]]:
    """For each row of queries (queries, size) the best `limit` with at least this confidence."""
    slack = SLACK if view.precision is Precision.FULL else HALF_SLACK
    best = _Best(len(queries), limit, cosine(threshold) - 2 * slack, allowed)
    compare = _Comparison(queries, view.precision, alone=len(queries) == 1 and view.count >= FAISS_FROM)
    few = allowed if allowed is not None and allowed.few else None
    cosines_a_block = len(queries) * rows_in_block(queries.shape[1])
    start, at_once = 0, COSINES_AT_ONCE if allowed is None else FIRST_ALLOWED
    while start < len(view.blocks):
        end = start + max(1, at_once // cosines_a_block)
        blocks = view.blocks[start:end]
        if few is not None:
            blocks = [_part(block, few.candidates(block.ids)) for block in blocks]
        best.take(compare.with_blocks(blocks), blocks)
        start, at_once = end, min(2 * at_once, COSINES_AT_ONCE)
    return best.hits()


def _part(block: Block, rows: NDArray[np.intp]) -> Block:
    if len(rows) * SPARSE > len(block.ids):
        return block
    return Block(block.vectors[rows], block.ids[rows])


def _ids(blocks: Sequence[Block], rows: NDArray[np.intp]) -> Ints:
    """Those of these rows of all blocks together."""
    if len(rows) > len(blocks):
        return np.asarray(np.concatenate([block.ids for block in blocks])[rows])
    ends = list(accumulate(len(block.ids) for block in blocks))
    places = [(bisect_right(ends, row), row) for row in rows.tolist()]
    # Counted from the end of its block.
    return np.array([blocks[number].ids[row - ends[number]] for number, row in places], dtype=np.int64)


class _Comparison:
    """Cosines of blocks to the queries, in memory that is used again for each block."""

    def __init__(self, queries: Floats, precision: Precision, alone: bool) -> None:
        """`alone`: it is one query, to be compared with many."""
        self._queries = np.ascontiguousarray(queries.T / np.float32(precision.scale))  # (size, queries)
        self._exact = precision is Precision.FULL
        self._products = _faiss_products() if alone else np.dot
        self._cosines = np.empty((0, len(queries)), dtype=np.float32)
        self._numbers = np.empty((0, queries.shape[1]), dtype=np.float32)

    def with_blocks(self, blocks: Sequence[Block]) -> Floats:
        """(rows of all, queries), with some more that are never near so that they make whole groups; valid
        until the next call."""
        rows = -(-sum(len(block.ids) for block in blocks) // GROUP) * GROUP
        if rows > len(self._cosines):
            self._cosines = np.empty((rows, self._queries.shape[1]), dtype=np.float32)
        end = 0
        for block in blocks:
            start, end = end, end + len(block.ids)
            vectors = block.vectors if self._exact else self._widened(block, end - start)
            self._products(vectors, self._queries, self._cosines[start:end])
        self._cosines[end:rows] = NEVER_NEAR
        return self._cosines[:rows]

    def _widened(self, block: Block, rows: int) -> Floats:
        if rows > len(self._numbers):
            self._numbers = np.empty((rows, self._queries.shape[0]), dtype=np.float32)
        np.copyto(self._numbers[:rows], block.vectors)
        return self._numbers[:rows]


def _faiss_products() -> Callable[[Stored, Floats, Floats], object]:
    """As `np.dot` of vectors and one query (size, 1) into the third; all have to be contiguous."""
    import faiss  # takes a tenth of a second, which most boxes never need

    at = faiss.swig_ptr
    products = faiss.fvec_inner_products_ny  # type: ignore[attr-defined]  # which its annotations do not know
    return lambda vectors, query, out: products(at(out), at(query), at(vectors), *vectors.shape[::-1])


class _Best:
    """The best `limit` of each query among what came so far. What cannot be among them is dropped at once."""

    def __init__(self, queries: int, limit: int, least: float, allowed: Allowed | None) -> None:
        self._limit = limit
        self._allowed = allowed
        self._floor = np.full(queries, least, dtype=np.float32)
        self._parts: list[tuple[Ints, Ints, Floats]] = []
        """Queries, ids and cosines."""
        self._waiting = 0
        self._bound = 1024 + 4 * limit * queries

    def take(self, cosines: Floats, blocks: Sequence[Block]) -> None:
        """(rows, queries), contiguous, whole groups, and the blocks whose rows they are."""
        rows, queries = self._near(cosines)
        if not len(rows):
            return
        values, found = cosines[rows, queries], _ids(blocks, rows)
        if self._allowed is not None:
            right = self._allowed.among(found)
            queries, found, values = queries[right], found[right], values[right]
        self._parts.append((queries, found, values))
        self._waiting += len(found)
        if self._waiting > self._bound:
            self._tighten()

    def _near(self, cosines: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows and queries of those that may be among the best."""
        if len(cosines) <= GROUP * self._limit:
            rows, queries = np.nonzero(cosines >= self._floor)
            return rows, queries
        tops = cosines.reshape(GROUP, -1, len(self._floor)).max(axis=0)  # (groups, queries)
        near = tops >= self._floor
        if self._allowed is None and 0 < self._limit * len(self._floor) < near.sum():
            # As many groups as are wanted have one that is at least so near.
            least = len(tops) - self._limit
            self._floor = np.maximum(self._floor, np.partition(tops, least, axis=0)[least])
            near = tops >= self._floor
        groups = np.flatnonzero(near.any(axis=1))
        rows = np.add.outer(np.arange(0, len(cosines), len(tops)), groups).ravel()
        among, queries = np.nonzero(cosines[rows] >= self._floor)
        return rows[among], queries

    def _tighten(self) -> None:
        queries, ids, values = (np.concatenate(part) for part in zip(*self._parts, strict=True))
        if len(self._floor) == 1:
            kept = np.lexsort((ids, -values))[: self._limit]
            last = kept[self._limit - 1 :]
        else:
            order = np.lexsort((ids, -values, queries))
            rank = np.arange(len(queries)) - np.searchsorted(queries[order], queries[order])
            kept, last = order[rank < self._limit], order[rank == self._limit - 1]
        # Later ones must be at least as good as this one.
        self._floor[queries[last]] = np.maximum(self._floor[queries[last]], values[last])
        self._parts = [(queries[kept], ids[kept], values[kept])]
        self._waiting = len(kept)
        self._bound = max(self._bound, 2 * self._waiting)

    def hits(self) -> list[list[FacenHit]]:
        """For each query the best first; of equal ones the smaller id first."""
        found: list[list[FacenHit]] = [[] for _ in self._floor]
        if self._parts:
            self._tighten()
            queries, ids, values = self._parts[0]
            sure = np.clip(confidence(values), 0.0, 1.0)
            for query, face_id, value in zip(queries.tolist(), ids.tolist(), sure.tolist(), strict=True):
                found[query].append(FacenHit(face_id, value))
        return found

"""Exact search: compares every facen of a view with the queries, and keeps the best hits of each.

A single query is a matrix-vector product per block, at memory speed. Several queries are a matrix product,
which reads every block once for all of them.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from pipeline.faces.facen import confidence, cosine
from store.facens.engine.gallery_array import Block, GalleryView, Precision, Stored, rows_in_block
from store.facens.engine.row_index import hashes
from store.facens.storage import FacenHit, id_array

COSINE_TOLERANCE = 1e-6
"""Rounding of float32: a facen compared with itself must reach a threshold of 1."""
HALF_COSINE_TOLERANCE = 1e-4
MIN_FAISS = 100_000
"""Number of facens from which faiss computes the products of a single query, in 0.9 of numpy's time."""
MAX_COSINES = 1 << 19
"""Number of cosines computed before the best are selected. Selecting after each block would begin with a cold
cache."""
FIRST_COSINES = 1 << 13
"""As MAX_COSINES, initially, for searches with allowed ids. It doubles, because later blocks have fewer near
facens whose ids are looked up."""
GROUP = 64
"""Number of cosines in a group. A group whose maximum is too low is skipped."""
BELOW_ALL = -2
"""Less than any cosine."""
SPARSE = 8
"""If fewer than one in this number of rows is allowed, only the allowed rows are compared. Gathering a row
takes as long as reading eight consecutive rows."""

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


class Allowed:
    """The ids that a search is limited to."""

    def __init__(self, ids: Iterable[int], count: int) -> None:
        """`count`: the number of facens in the gallery."""
        self._ids = np.sort(id_array(ids))
        self.is_sparse = len(self._ids) * SPARSE < count
        """Whether only the facens of these ids are compared, instead of all."""
        if self.is_sparse:
            bits = max(10, (16 * len(self._ids)).bit_length())
            self._shift = np.uint64(64 - bits)
            self._hash_bits = np.zeros(1 << bits, dtype=np.bool_)
            self._hash_bits[hashes(self._ids) >> self._shift] = True

    def candidates(self, ids: Ints) -> NDArray[np.intp]:
        """The positions of the allowed ids and some others, by bits of the ids' hashes. Only if
        `is_sparse`."""
        return np.flatnonzero(self._hash_bits[hashes(ids) >> self._shift])

    def among(self, ids: Ints) -> NDArray[np.intp]:
        """The positions of exactly the allowed ids."""
        if not len(self._ids):
            return np.empty(0, dtype=np.intp)
        places = np.minimum(np.searchsorted(self._ids, ids), len(self._ids) - 1)
        return np.flatnonzero(self._ids[places] == ids)


def search(
    view: GalleryView, queries: Floats, limit: int, threshold: float, allowed: Allowed | None = None
) -> list[list[FacenHit]]:
    """The best `limit` hits with at least this confidence, for each row of queries (queries, size)."""
    tolerance = COSINE_TOLERANCE if view.precision is Precision.FULL else HALF_COSINE_TOLERANCE
    best = _BestHits(len(queries), limit, cosine(threshold) - 2 * tolerance, allowed)
    calculator = _CosineCalculator(
        queries, view.precision, alone=len(queries) == 1 and view.count >= MIN_FAISS
    )
    sparse = allowed if allowed is not None and allowed.is_sparse else None
    cosines_per_block = len(queries) * rows_in_block(queries.shape[1])
    start, cosines = 0, MAX_COSINES if allowed is None else FIRST_COSINES
    while start < len(view.blocks):
        end = start + max(1, cosines // cosines_per_block)
        blocks = view.blocks[start:end]
        if sparse is not None:
            blocks = [_part(block, sparse.candidates(block.ids)) for block in blocks]
        best.add(calculator.compute(blocks), blocks)
        start, cosines = end, min(2 * cosines, MAX_COSINES)
    return best.hits()


def _part(block: Block, rows: NDArray[np.intp]) -> Block:
    if len(rows) * SPARSE > len(block.ids):
        return block
    return Block(block.vectors[rows], block.ids[rows])


def _ids(blocks: Sequence[Block], rows: NDArray[np.intp]) -> Ints:
    """The ids of these rows, which are numbered across all blocks."""
    if len(rows) > len(blocks):
        return np.asarray(np.concatenate([block.ids for block in blocks])[rows])
    ends = list(accumulate(len(block.ids) for block in blocks))
    positions = [(bisect_right(ends, row), row) for row in rows.tolist()]
    # A negative index counts from the end of the block.
    return np.array([blocks[number].ids[row - ends[number]] for number, row in positions], dtype=np.int64)


class _CosineCalculator:
    """Computes the cosines of blocks and queries, in memory that is reused for each block."""

    def __init__(self, queries: Floats, precision: Precision, alone: bool) -> None:
        """`alone`: a single query for a large gallery."""
        self._queries = np.ascontiguousarray(queries.T / np.float32(precision.scale))  # (size, queries)
        self._exact = precision is Precision.FULL
        self._products = _faiss_products() if alone else np.dot
        self._cosines = np.empty((0, len(queries)), dtype=np.float32)
        self._numbers = np.empty((0, queries.shape[1]), dtype=np.float32)

    def compute(self, blocks: Sequence[Block]) -> Floats:
        """Cosines of shape (rows, queries), padded with low values to whole groups. Valid until the next
        call."""
        rows = -(-sum(len(block.ids) for block in blocks) // GROUP) * GROUP
        if rows > len(self._cosines):
            self._cosines = np.empty((rows, self._queries.shape[1]), dtype=np.float32)
        end = 0
        for block in blocks:
            start, end = end, end + len(block.ids)
            vectors = block.vectors if self._exact else self._to_float32(block, end - start)
            self._products(vectors, self._queries, self._cosines[start:end])
        self._cosines[end:rows] = BELOW_ALL
        return self._cosines[:rows]

    def _to_float32(self, block: Block, rows: int) -> Floats:
        if rows > len(self._numbers):
            self._numbers = np.empty((rows, self._queries.shape[0]), dtype=np.float32)
        np.copyto(self._numbers[:rows], block.vectors)
        return self._numbers[:rows]


def _faiss_products() -> Callable[[Stored, Floats, Floats], object]:
    """A function like `np.dot(vectors, query, out)` for one query (size, 1); arrays must be contiguous."""
    import faiss  # takes a tenth of a second, which most boxes never need

    at = faiss.swig_ptr
    products = faiss.fvec_inner_products_ny  # type: ignore[attr-defined]  # missing in its annotations
    return lambda vectors, query, out: products(at(out), at(query), at(vectors), *vectors.shape[::-1])


class _BestHits:
    """Keeps the best `limit` hits of each query so far."""

    def __init__(self, queries: int, limit: int, min_cosine: float, allowed: Allowed | None) -> None:
        self._limit = limit
        self._allowed = allowed
        self._floor = np.full(queries, min_cosine, dtype=np.float32)
        self._parts: list[tuple[Ints, Ints, Floats]] = []
        """Queries, ids and cosines."""
        self._pending = 0
        self._bound = 1024 + 4 * limit * queries

    def add(self, cosines: Floats, blocks: Sequence[Block]) -> None:
        """Add cosines of shape (rows, queries), contiguous and in complete groups, with the blocks of these
        rows."""
        rows, queries = self._near(cosines)
        if not len(rows):
            return
        values, found = cosines[rows, queries], _ids(blocks, rows)
        if self._allowed is not None:
            right = self._allowed.among(found)
            queries, found, values = queries[right], found[right], values[right]
        self._parts.append((queries, found, values))
        self._pending += len(found)
        if self._pending > self._bound:
            self._tighten()

    def _near(self, cosines: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows and queries of cosines that may be among the best hits."""
        if len(cosines) <= GROUP * self._limit:
            rows, queries = np.nonzero(cosines >= self._floor)
            return rows, queries
        tops = cosines.reshape(GROUP, -1, len(self._floor)).max(axis=0)  # (groups, queries)
        near = tops >= self._floor
        if self._allowed is None and 0 < self._limit * len(self._floor) < near.sum():
            # At least `limit` groups have a cosine of this value or more.
            rank = len(tops) - self._limit
            self._floor = np.maximum(self._floor, np.partition(tops, rank, axis=0)[rank])
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
        # Later cosines must reach the lowest one kept.
        self._floor[queries[last]] = np.maximum(self._floor[queries[last]], values[last])
        self._parts = [(queries[kept], ids[kept], values[kept])]
        self._pending = len(kept)
        self._bound = max(self._bound, 2 * self._pending)

    def hits(self) -> list[list[FacenHit]]:
        """The hits of each query, best first; with equal confidence, the smaller id first."""
        found: list[list[FacenHit]] = [[] for _ in self._floor]
        if self._parts:
            self._tighten()
            queries, ids, values = self._parts[0]
            confidences = np.clip(confidence(values), 0.0, 1.0)
            for query, face_id, value in zip(
                queries.tolist(), ids.tolist(), confidences.tolist(), strict=True
            ):
                found[query].append(FacenHit(face_id, value))
        return found

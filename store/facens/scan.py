"""The exact search: every facen of a view is compared, and the best of each query kept.

One query is a matrix-vector product a block, which is as fast as memory can be read; several queries
are a matrix product, which reads every block once for all of them.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.facen import confidence, cosine
from store.facens.gallery_array import Block, Precision, Stored, View, rows_in_block
from store.facens.row_index import hashes
from store.facens.storage import FacenHit, id_array

SLACK = 1e-6
"""Rounding of float32: a facen compared with itself has to reach a threshold of 1."""
HALF_SLACK = 1e-4
FAISS_FROM = 100_000
"""From so many facens on faiss' own product of one query is worth loading it: it takes 0.9 of the time of
numpy's, which reads four facens at once."""
COSINES_AT_ONCE = 1 << 16
"""So many are counted before the best of them are looked for, which takes longer block by block: each time it
finds the processor's cache full of facens."""
SPARSE = 8
"""Where fewer than one in so many rows may be allowed, only these are compared: to gather a facen takes as
long as to read eight in a row."""

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


class Allowed:
    """The ids that a search is limited to. A look at a few bits of an id's hash decides most cases."""

    def __init__(self, ids: Iterable[int], count: int) -> None:
        """`count`: of how many facens these are a choice."""
        self._ids = np.sort(id_array(ids))
        self.few = len(self._ids) * SPARSE < count
        """Whether it is worth while to look for their facens, instead of looking at all."""
        bits = max(10, ((16 if self.few else 4) * len(self._ids)).bit_length())
        self._shift = np.uint64(64 - bits)
        self._maybe = np.zeros(1 << bits, dtype=np.bool_)
        self._maybe[hashes(self._ids) >> self._shift] = True

    def candidates(self, ids: Ints) -> NDArray[np.intp]:
        """The places of all that are allowed, and of a few that are not."""
        return np.flatnonzero(self._maybe[hashes(ids) >> self._shift])

    def among(self, ids: Ints) -> NDArray[np.intp]:
        """The places of those that are allowed, and of no other."""
        if not len(self._ids):
            return np.empty(0, dtype=np.intp)
        maybe = self.candidates(ids)
        found = np.minimum(np.searchsorted(self._ids, ids[maybe]), len(self._ids) - 1)
        return np.asarray(maybe[self._ids[found] == ids[maybe]])


def search(
    view: View, queries: Floats, limit: int, threshold: float, allowed: Allowed | None = None
) -> list[list[FacenHit]]:
    """For each row of queries (queries, size) the best `limit` with at least this confidence."""
    slack = SLACK if view.precision is Precision.FULL else HALF_SLACK
    best = _Best(len(queries), limit, cosine(threshold) - 2 * slack, allowed)
    compare = _Comparison(queries, view.precision, alone=len(queries) == 1 and view.count >= FAISS_FROM)
    few = allowed if allowed is not None and allowed.few else None
    together = max(1, COSINES_AT_ONCE // (len(queries) * rows_in_block(queries.shape[1])))
    for start in range(0, len(view.blocks), together):
        blocks = view.blocks[start : start + together]
        if few is not None:
            blocks = [_part(block, few.candidates(block.ids)) for block in blocks]
        best.take(compare.with_blocks(blocks), blocks)
    return best.hits()


def _part(block: Block, rows: NDArray[np.intp]) -> Block:
    if len(rows) * SPARSE > len(block.ids):
        return block
    return Block(block.vectors[rows], block.ids[rows])


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
        """(rows of all, queries); valid until the next call."""
        rows = sum(len(block.ids) for block in blocks)
        if rows > len(self._cosines):
            self._cosines = np.empty((rows, self._queries.shape[1]), dtype=np.float32)
        end = 0
        for block in blocks:
            start, end = end, end + len(block.ids)
            vectors = block.vectors if self._exact else self._widened(block, end - start)
            self._products(vectors, self._queries, self._cosines[start:end])
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
        """(rows, queries), contiguous, and the blocks whose rows they are."""
        if cosines.shape[1] == 1 and not (cosines.max(initial=-2) >= self._floor[0]):
            return  # as the next step would find, in five times the time
        near = np.flatnonzero(cosines >= self._floor)
        if not len(near):
            return
        rows, queries = np.divmod(near, len(self._floor))
        values, found = cosines.ravel()[near], np.concatenate([block.ids for block in blocks])[rows]
        if self._allowed is not None:
            right = self._allowed.among(found)
            queries, found, values = queries[right], found[right], values[right]
        self._parts.append((queries, found, values))
        self._waiting += len(found)
        if self._waiting > self._bound:
            self._tighten()

    def _tighten(self) -> None:
        queries, ids, values = (np.concatenate(part) for part in zip(*self._parts, strict=True))
        order = np.lexsort((ids, -values, queries))
        queries, ids, values = queries[order], ids[order], values[order]
        rank = np.arange(len(queries)) - np.searchsorted(queries, queries)
        last = rank == self._limit - 1  # whoever comes later has to be as good as this one
        self._floor[queries[last]] = np.maximum(self._floor[queries[last]], values[last])
        kept = rank < self._limit
        self._parts = [(queries[kept], ids[kept], values[kept])]
        self._waiting = int(kept.sum())
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

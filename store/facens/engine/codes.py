"""Facens in few bits: enough to say which ones are worth comparing.

Product quantization with sixteen centres for each six numbers (Jégou, Douze, Schmid, Product Quantization
for Nearest Neighbor Search, IEEE TPAMI 33, 2011), scanned as faiss does with tables in registers (André,
Kermarrec, Le Scouarnec, Cache Locality is Not Enough, VLDB 9, 2015). A fortieth of the memory is read.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from store.facens.engine.gallery_array import Precision, Stored, View

NUMBERS_A_CODE = 6
CODE_BITS = 4
BLOCK_FACENS = 128
"""Block size of faiss' scan. 32 is possible too, and slower."""
LEARNED_FROM = 20_000
"""Facens, evenly spaced, from which the centres are trained."""
CODED_AT_ONCE = 10_000

Floats = NDArray[np.float32]


class Codes:
    """Those of all facens of a view, in their order. Immutable, so any thread may search."""

    def __init__(self, view: View) -> None:
        """Takes some seconds for a million; at least a few thousand facens are needed."""
        import faiss  # takes a tenth of a second, which most boxes never need

        size = view.blocks[0].vectors.shape[1]
        # faiss wants parts of equal size, an even number of them.
        self._padding = -size % (2 * NUMBERS_A_CODE)
        padded = size + self._padding
        # Its annotations are not known: see pyproject.toml.
        self._index: Any = faiss.IndexPQFastScan(
            padded, padded // NUMBERS_A_CODE, CODE_BITS, faiss.METRIC_INNER_PRODUCT, BLOCK_FACENS
        )
        # One query is scanned by one thread anyway, and the cameras need the others.
        self._set_threads: Callable[[int], None] = faiss.omp_set_num_threads
        self._set_threads(1)
        self._index.train(self._padded(_evenly(view, LEARNED_FROM)))
        for block in view.blocks:
            for start in range(0, len(block.ids), CODED_AT_ONCE):
                part = block.vectors[start : start + CODED_AT_ONCE]
                self._index.add(self._padded(widened(part, view.precision)))

    @property
    def nbytes(self) -> int:
        return int(self._index.ntotal) * int(self._index.code_size)

    def nearest(self, queries: Floats, number: int) -> NDArray[np.intp]:
        """The rows that are probably the nearest to any of the queries (queries, size), so many for each; in
        order, each once."""
        self._set_threads(1)  # OpenMP asks each thread for its own wish
        _, rows = self._index.search(self._padded(queries), number)
        found = np.sort(rows[0]) if len(rows) == 1 else np.unique(rows)
        return found[found >= 0].astype(np.intp)  # -1 stands for none

    def _padded(self, vectors: Floats) -> Floats:
        padded = np.zeros((len(vectors), vectors.shape[1] + self._padding), dtype=np.float32)
        padded[:, : vectors.shape[1]] = vectors
        return padded


def _evenly(view: View, number: int) -> Floats:
    """About `number` facens of the view."""
    step = max(1, view.count // number)
    return np.concatenate([widened(block.vectors[::step], view.precision) for block in view.blocks])


def widened(vectors: Stored, precision: Precision) -> Floats:
    """As they were before they were stored."""
    return vectors.astype(np.float32) / np.float32(precision.scale)

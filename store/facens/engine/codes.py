"""Short codes of facens, which select candidates for an exact comparison.

Product quantization with sixteen centres for each six numbers (Jégou, Douze, Schmid, Product Quantization
for Nearest Neighbor Search, IEEE TPAMI 33, 2011), scanned as faiss does with tables in registers (André,
Kermarrec, Le Scouarnec, Cache Locality is Not Enough, VLDB 9, 2015). A scan reads a fortieth of the memory.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from store.facens.engine.gallery_array import GalleryView, Precision, Stored

VALUES_PER_CODE = 6
CODE_BITS = 4
BLOCK_FACENS = 128
"""Block size of faiss' scan. 32 is slower."""
TRAINING_FACENS = 20_000
"""Number of facens, evenly spaced, that train the centres."""
ENCODE_BATCH = 10_000

Floats = NDArray[np.float32]


class Codes:
    """The codes of all facens of a view, in their order. Immutable and thread-safe."""

    def __init__(self, view: GalleryView) -> None:
        """Takes some seconds for a million facens. Needs at least a few thousand."""
        import faiss  # takes a tenth of a second; most boxes do not need it

        size = view.blocks[0].vectors.shape[1]
        # faiss needs an even number of parts of equal size.
        self._padding = -size % (2 * VALUES_PER_CODE)
        padded = size + self._padding
        # faiss has no annotations, see pyproject.toml.
        self._index: Any = faiss.IndexPQFastScan(
            padded, padded // VALUES_PER_CODE, CODE_BITS, faiss.METRIC_INNER_PRODUCT, BLOCK_FACENS
        )
        # A single query uses one thread in any case; the cameras need the other cores.
        self._set_threads: Callable[[int], None] = faiss.omp_set_num_threads
        self._set_threads(1)
        self._index.train(self._padded(_sample(view, TRAINING_FACENS)))
        for block in view.blocks:
            for start in range(0, len(block.ids), ENCODE_BATCH):
                part = block.vectors[start : start + ENCODE_BATCH]
                self._index.add(self._padded(to_float32(part, view.precision)))

    @property
    def nbytes(self) -> int:
        return int(self._index.ntotal) * int(self._index.code_size)

    def nearest(self, queries: Floats, number: int) -> NDArray[np.intp]:
        """The rows that are probably nearest to the queries (queries, size), `number` for each; distinct and
        sorted."""
        self._set_threads(1)  # an OpenMP setting of the calling thread
        _, rows = self._index.search(self._padded(queries), number)
        found = np.sort(rows[0]) if len(rows) == 1 else np.unique(rows)
        return found[found >= 0].astype(np.intp)  # −1: no result

    def _padded(self, vectors: Floats) -> Floats:
        padded = np.zeros((len(vectors), vectors.shape[1] + self._padding), dtype=np.float32)
        padded[:, : vectors.shape[1]] = vectors
        return padded


def _sample(view: GalleryView, number: int) -> Floats:
    """About `number` facens of the view, evenly spaced."""
    step = max(1, view.count // number)
    return np.concatenate([to_float32(block.vectors[::step], view.precision) for block in view.blocks])


def to_float32(vectors: Stored, precision: Precision) -> Floats:
    """Stored vectors as float32."""
    return vectors.astype(np.float32) / np.float32(precision.scale)

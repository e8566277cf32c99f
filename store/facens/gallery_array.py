"""The facens of one gallery in one growing array."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from pipeline.facen import confidence, cosine
from pipeline.types import Facen
from store.facens.storage import FacenHit

FIRST_ROWS = 16
GROWTH = 1.125
"""Past the first few thousand rows, by so much: amortised O(1), and little memory unused."""
QUICK_ROWS = 4096
SLACK = 1e-6
"""Rounding of float32: a facen compared with itself has to reach a threshold of 1."""


class View:
    """What a gallery held at one moment. It stays as it is while the gallery grows."""

    def __init__(self, vectors: NDArray[np.float32], ids: NDArray[np.int64]) -> None:
        self._vectors = vectors
        self._ids = ids

    def search(self, facens: NDArray[np.float32], limit: int, threshold: float) -> list[list[FacenHit]]:
        """For each row of facens the best `limit` with at least this confidence."""
        cosines = self._vectors @ facens.T  # (rows, queries)
        return [
            self._best(np.ascontiguousarray(cosines[:, query]), limit, threshold)
            for query in range(len(facens))
        ]

    def _best(self, cosines: NDArray[np.float32], limit: int, threshold: float) -> list[FacenHit]:
        near = np.flatnonzero(cosines >= cosine(threshold) - 2 * SLACK)
        if len(near) > limit:
            # Those as good as the last one that fits stay in, so that the order by id decides among them.
            last = np.partition(cosines[near], len(near) - limit)[len(near) - limit]
            near = near[cosines[near] >= last]
        order = np.lexsort((self._ids[near], -cosines[near]))[:limit]
        rows = near[order]
        sure = np.clip(confidence(cosines[rows]), 0.0, 1.0)
        return [FacenHit(int(key), float(value)) for key, value in zip(self._ids[rows], sure, strict=True)]


class GalleryArray:
    """Ids and facens, added and removed in constant time. Not to be shared between threads."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._vectors = np.empty((FIRST_ROWS, size), dtype=np.float32)
        self._ids = np.empty(FIRST_ROWS, dtype=np.int64)
        self._rows: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, face_id: int) -> bool:
        return face_id in self._rows

    def ids(self) -> list[int]:
        return sorted(self._rows)

    def add(self, face_id: int, facen: Facen) -> None:
        row = len(self._rows)
        if row == len(self._ids):
            self._resize(max(row + 1, row * 2 if row < QUICK_ROWS else int(row * GROWTH)))
        self._vectors[row] = facen
        self._ids[row] = face_id
        self._rows[face_id] = row

    def remove(self, face_id: int) -> None:
        """The last row takes the place of the removed one. No view may be in use."""
        row = self._rows.pop(face_id)
        last = len(self._rows)
        if row != last:
            self._vectors[row] = self._vectors[last]
            self._ids[row] = self._ids[last]
            self._rows[int(self._ids[row])] = row
        if FIRST_ROWS < len(self._ids) > 4 * last:
            self._resize(max(FIRST_ROWS, 2 * last))

    def view(self, allowed: Iterable[int] | None = None) -> View:
        """Everything, or the allowed ids among it."""
        count = len(self._rows)
        if allowed is None:
            return View(self._vectors[:count], self._ids[:count])
        rows = np.array([self._rows[key] for key in set(allowed) if key in self._rows], dtype=np.intp)
        return View(self._vectors[rows], self._ids[rows])

    def _resize(self, rows: int) -> None:
        # New arrays, never in place: a view may still look at the old ones.
        count = len(self._rows)
        vectors = np.empty((rows, self._size), dtype=np.float32)
        ids = np.empty(rows, dtype=np.int64)
        vectors[:count], ids[:count] = self._vectors[:count], self._ids[:count]
        self._vectors, self._ids = vectors, ids

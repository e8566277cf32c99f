"""The exact search, compared with sorting all cosines."""

from collections.abc import Collection

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.faces.facen import cosine
from store.facens.engine import gallery_array, scan
from store.facens.engine.gallery_array import GalleryArray
from store.facens.engine.scan import COSINE_TOLERANCE, GROUP, Allowed, search

SIZE = 8
BLOCK = 256
NUMBERS = np.array([-0.25, 0, 0.25], dtype=np.float32)
"""Their products and the sums of these are exact, so that many cosines are equal."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


@pytest.fixture(autouse=True)
def several_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few blocks are a large gallery."""
    for module in (gallery_array, scan):
        monkeypatch.setattr(module, "rows_in_block", lambda size: BLOCK)
    monkeypatch.setattr(scan, "MAX_COSINES", 4 * BLOCK)
    monkeypatch.setattr(scan, "FIRST_COSINES", BLOCK)
    monkeypatch.setattr(scan, "MIN_FAISS", 1000)


def gallery(count: int, seed: int) -> tuple[GalleryArray, Ints, Floats]:
    """Many of them equal: each number is one of three."""
    rng = np.random.default_rng(seed)
    vectors = rng.choice(NUMBERS, (count, SIZE))
    ids = rng.choice(2**62, count, replace=False)
    array = GalleryArray(SIZE)
    for face_id, vector in zip(ids.tolist(), vectors, strict=True):
        array.add(face_id, vector)
    return array, ids, vectors


def plainly(
    ids: Ints, cosines: Floats, limit: int, threshold: float, allowed: Collection[int] | None
) -> list[int]:
    near = [
        (-value, face_id)
        for face_id, value in zip(ids.tolist(), cosines.tolist(), strict=True)
        if value >= cosine(threshold) - 2 * COSINE_TOLERANCE and (allowed is None or face_id in allowed)
    ]
    return [face_id for _, face_id in sorted(near)[:limit]]


@pytest.mark.parametrize("share", [None, 0.02, 0.5])
@pytest.mark.parametrize("count", [1, GROUP - 1, BLOCK, 5 * BLOCK + 1, 23 * BLOCK + 40])
@pytest.mark.parametrize("queries", [1, 3])
def test_finds_the_best_for_any_number_of_blocks(queries: int, count: int, share: float | None) -> None:
    """With equal confidence the smaller ids first, for few and many facens, with all or some ids allowed."""
    array, ids, vectors = gallery(count, seed=count)
    rng = np.random.default_rng(queries)
    asked = rng.choice(NUMBERS, (queries, SIZE))
    allowed = None if share is None else set(rng.choice(ids, int(share * count), replace=False).tolist())
    for limit in (0, 1, 10, 300):
        for threshold in (0.0, 0.55, 0.7):
            chosen = None if allowed is None else Allowed(allowed, count)
            found = search(array.view(), asked, limit, threshold, chosen)
            assert [[hit.id for hit in hits] for hits in found] == [
                plainly(ids, vectors @ query, limit, threshold, allowed) for query in asked
            ]

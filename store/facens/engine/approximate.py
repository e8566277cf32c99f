"""Approximate search of large galleries: short codes select the facens that are compared.

Codes are computed in a thread from a view of the gallery. Rows changed since then are always compared, so
that additions are found at once and removed faces are not. After many changes new codes are computed.
Confidences are exact; faces may be missed, and the recall is measured for each set of codes.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable

import numpy as np
import structlog
from numpy.typing import NDArray

from pipeline.base.background import supervised
from store.facens.engine.codes import Codes, to_float32
from store.facens.engine.gallery_array import Block, GalleryArray, GalleryView, pick_rows
from store.facens.engine.scan import Floats, search
from store.facens.storage import FacenHit, GalleryKey

CANDIDATES = 128
"""Facens compared per query."""
MAX_LIMIT = CANDIDATES // 4
"""A search with a larger limit is exact."""
CHANGED_SHARE = 1 / 16
"""Share of changed rows at which new codes are computed."""
PROBES = 200
"""Number of facens searched to measure the recall."""
PROBE_COSINE = 0.7
"""Cosine of a probe to its facen, as that of another picture of the same person."""

log = structlog.get_logger()


class ChangedRows:
    """Rows of a gallery that changed since codes were computed. Updated by the event loop, read by any
    thread."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.overwritten = 0
        self._unchanged = np.ones(count, dtype=np.bool_)

    def record(self, row: int) -> None:
        """Record a changed row. Registered as a listener of the gallery."""
        if row < self.count and self._unchanged[row]:
            self._unchanged[row] = False
            self.overwritten += 1

    def with_changed(self, rows: NDArray[np.intp], count: int) -> NDArray[np.intp]:
        """The given rows and all changed ones, sorted. `count`: the gallery's current number of rows."""
        rows = rows[rows < count]
        added = np.arange(self.count, count, dtype=np.intp)
        if not self.overwritten:
            return np.concatenate([rows, added])
        unchanged = self._unchanged.copy()  # the event loop may change it meanwhile
        overwritten = np.flatnonzero(~unchanged[:count])
        return np.concatenate([np.union1d(rows[unchanged[rows]], overwritten), added])


class Approximation:
    """The codes of one gallery, and the changes since they were computed."""

    def __init__(self, codes: Codes, changed_rows: ChangedRows) -> None:
        self._codes = codes
        self.changed_rows = changed_rows

    @property
    def nbytes(self) -> int:
        return self._codes.nbytes + self.changed_rows.count

    def is_old(self, count: int) -> bool:
        """Whether enough rows have changed to compute new codes. `count`: the current number of rows."""
        before = self.changed_rows.count
        return self.changed_rows.overwritten + abs(count - before) > CHANGED_SHARE * before

    def search(
        self, view: GalleryView, queries: Floats, limit: int, threshold: float
    ) -> list[list[FacenHit]]:
        """As `store.facens.engine.scan.search`, for a view not older than the codes."""
        rows = self.changed_rows.with_changed(self._codes.nearest(queries, CANDIDATES), view.count)
        candidates = GalleryView([Block(pick_rows(view.blocks, rows), rows)], len(rows), view.precision)
        # Row numbers stand for the ids, because reading all ids would access memory at random.
        return [_with_ids(view, hits) for hits in search(candidates, queries, limit, threshold)]

    def recall(self, view: GalleryView) -> float:
        """Share of sample faces whose nearest face is found, in a view not older than the codes."""
        rng = np.random.default_rng(view.count)
        rows = np.sort(rng.choice(view.count, min(PROBES, view.count), replace=False)).astype(np.intp)
        facens = to_float32(pick_rows(view.blocks, rows), view.precision)
        noise = rng.standard_normal(facens.shape, dtype=np.float32)
        noise /= np.linalg.norm(noise, axis=1, keepdims=True)
        probes = PROBE_COSINE * facens + np.float32(np.sqrt(1 - PROBE_COSINE**2)) * noise
        probes /= np.linalg.norm(probes, axis=1, keepdims=True)
        exact = search(view, probes, 1, 0)
        # Individually: in a joint search, each would also benefit from the candidates of the others.
        found = [self.search(view, probes[number : number + 1], 1, 0)[0] for number in range(len(probes))]
        return float(
            np.mean([expected[0].id == hits[0].id for expected, hits in zip(exact, found, strict=True)])
        )


def _with_ids(view: GalleryView, hits: Iterable[FacenHit]) -> list[FacenHit]:
    """Replace the row numbers of hits with face ids."""
    block_rows = len(view.blocks[0].ids)
    found = []
    for hit in hits:
        number, row = divmod(hit.id, block_rows)
        found.append(FacenHit(int(view.blocks[number].ids[row]), hit.confidence))
    return sorted(found, key=lambda hit: (-hit.confidence, hit.id))


ViewReader = Callable[
    [GalleryArray, Callable[[GalleryView], tuple[Approximation, float]]],
    Awaitable[tuple[Approximation, float]],
]
"""Runs a function on a view of a gallery in a thread, and returns its result."""


class Approximations:
    """The approximations of a storage's galleries, on one event loop."""

    def __init__(self, min_faces: int, read: ViewReader) -> None:
        """`min_faces`: galleries with fewer faces are searched exactly; 0: all galleries are."""
        self._min_faces = min_faces
        self._read = read
        self._ready: dict[GalleryKey, Approximation] = {}
        self._tasks: dict[GalleryKey, asyncio.Task[None]] = {}

    @property
    def nbytes(self) -> int:
        return sum(approximation.nbytes for approximation in self._ready.values())

    def get(self, key: GalleryKey, array: GalleryArray, limit: int) -> Approximation | None:
        """The approximation for a search with this limit; None if the search must be exact.

        A missing or outdated approximation is computed in the background.
        """
        if not self._min_faces or len(array) < self._min_faces:
            return None
        approximation = self._ready.get(key)
        if (approximation is None or approximation.is_old(len(array))) and key not in self._tasks:
            task = self._tasks[key] = supervised(self._prepare(key, array), "facens: codes")
            task.add_done_callback(lambda task: self._ended(key, task))
        return approximation if limit <= MAX_LIMIT else None

    def forget(self, key: GalleryKey) -> None:
        """Discard the approximation of a removed gallery."""
        self._ready.pop(key, None)
        if (task := self._tasks.pop(key, None)) is not None:
            task.cancel()

    async def close(self) -> None:
        """Remove all approximations, and wait for running computations."""
        tasks = list(self._tasks.values())
        for key in {*self._ready, *self._tasks}:
            self.forget(key)
        if tasks:
            await asyncio.wait(tasks)

    async def ready(self) -> None:
        """Wait until no codes are being computed."""
        while self._tasks:
            await asyncio.wait(self._tasks.values())

    async def _prepare(self, key: GalleryKey, array: GalleryArray) -> None:
        since = time.monotonic()
        changed_rows = ChangedRows(len(array))
        array.listeners.append(changed_rows.record)
        try:
            approximation, recall = await self._read(array, lambda view: _compute(view, changed_rows))
        except BaseException:
            array.listeners.remove(changed_rows.record)
            raise
        if (before := self._ready.get(key)) is not None:
            array.listeners.remove(before.changed_rows.record)
        self._ready[key] = approximation
        log.info(
            "a gallery is searched approximately",
            gallery=key[1],
            faces=changed_rows.count,
            recall=round(recall, 4),
            seconds=round(time.monotonic() - since, 1),
        )

    def _ended(self, key: GalleryKey, task: asyncio.Task[None]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]


def _compute(view: GalleryView, changed_rows: ChangedRows) -> tuple[Approximation, float]:
    approximation = Approximation(Codes(view), changed_rows)
    return approximation, approximation.recall(view)

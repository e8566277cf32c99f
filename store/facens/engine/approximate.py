"""Searching large galleries approximately: codes of a few bits say which facens are compared.

Codes are made of a gallery as it was at a moment, in a thread. What has changed since is compared in any
case, so that whatever was added is found at once and nothing that was removed is. When that becomes much,
new codes are made. Confidences are exact; only faces may be missing, and the recall is measured each time.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable

import numpy as np
import structlog
from numpy.typing import NDArray

from pipeline.base.background import supervised
from store.facens.engine.codes import Codes, widened
from store.facens.engine.gallery_array import Block, GalleryArray, View, picked
from store.facens.engine.scan import Floats, search
from store.facens.storage import FacenHit, GalleryKey

COMPARED = 128
"""Facens compared per query."""
MOST = COMPARED // 4
"""Who wants more than this many gets an exact search."""
CHANGED_SHARE = 1 / 16
"""New codes are made when so much of a gallery has changed."""
PROBES = 200
"""Facens searched to measure the recall, …"""
PROBE_COSINE = 0.7
"""… as another picture of the same person would be."""

log = structlog.get_logger()


class Unchanged:
    """Which rows of a gallery still hold what they held when this began. Its loop tells, any thread asks."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.overwritten = 0
        self._still = np.ones(count, dtype=np.bool_)

    def written(self, row: int) -> None:
        """The gallery tells of every row."""
        if row < self.count and self._still[row]:
            self._still[row] = False
            self.overwritten += 1

    def among(self, rows: NDArray[np.intp], count: int) -> NDArray[np.intp]:
        """Those of these rows that are unchanged and all that are not, in order, of a gallery that now has so
        many."""
        rows = rows[rows < count]
        added = np.arange(self.count, count, dtype=np.intp)
        if not self.overwritten:
            return np.concatenate([rows, added])
        still = self._still.copy()  # it may go on being changed
        overwritten = np.flatnonzero(~still[:count])
        return np.concatenate([np.union1d(rows[still[rows]], overwritten), added])


class Approximation:
    """One gallery's codes, and what they do not know of."""

    def __init__(self, codes: Codes, unchanged: Unchanged) -> None:
        self._codes = codes
        self.unchanged = unchanged

    @property
    def nbytes(self) -> int:
        return self._codes.nbytes + self.unchanged.count

    def is_old(self, count: int) -> bool:
        """Whether enough of a gallery, now of `count` rows, has changed to compute new codes."""
        before = self.unchanged.count
        return self.unchanged.overwritten + abs(count - before) > CHANGED_SHARE * before

    def search(self, view: View, queries: Floats, limit: int, threshold: float) -> list[list[FacenHit]]:
        """As `store.facens.engine.scan.search`, of a view that is not older than the codes."""
        rows = self.unchanged.among(self._codes.nearest(queries, COMPARED), view.count)
        few = View([Block(picked(view.blocks, rows), rows)], len(rows), view.precision)
        # Nearly all ids would be read for nothing, one by one from everywhere in memory.
        return [_with_ids(view, hits) for hits in search(few, queries, limit, threshold)]

    def recall(self, view: View) -> float:
        """How often the nearest is found, of faces that are in this view; it is not older than the codes."""
        rng = np.random.default_rng(view.count)
        rows = np.sort(rng.choice(view.count, min(PROBES, view.count), replace=False)).astype(np.intp)
        facens = widened(picked(view.blocks, rows), view.precision)
        aside = rng.standard_normal(facens.shape, dtype=np.float32)
        aside /= np.linalg.norm(aside, axis=1, keepdims=True)
        probes = PROBE_COSINE * facens + np.float32(np.sqrt(1 - PROBE_COSINE**2)) * aside
        probes /= np.linalg.norm(probes, axis=1, keepdims=True)
        exact = search(view, probes, 1, 0)
        # One by one, as visitors come: together they would help each other.
        found = [self.search(view, probes[number : number + 1], 1, 0)[0] for number in range(len(probes))]
        return float(np.mean([one[0].id == other[0].id for one, other in zip(exact, found, strict=True)]))


def _with_ids(view: View, hits: Iterable[FacenHit]) -> list[FacenHit]:
    """The same with the ids that are in these rows."""
    block_rows = len(view.blocks[0].ids)
    found = []
    for hit in hits:
        number, row = divmod(hit.id, block_rows)
        found.append(FacenHit(int(view.blocks[number].ids[row]), hit.confidence))
    return sorted(found, key=lambda hit: (-hit.confidence, hit.id))


Reading = Callable[
    [GalleryArray, Callable[[View], tuple[Approximation, float]]], Awaitable[tuple[Approximation, float]]
]
"""Looks at a gallery in a thread, as it is when it is called."""


class Approximations:
    """Those of one storage's galleries, for one event loop."""

    def __init__(self, least: int, reading: Reading) -> None:
        """`least`: galleries with fewer faces are searched exactly; 0 for all."""
        self._least = least
        self._reading = reading
        self._made: dict[GalleryKey, Approximation] = {}
        self._making: dict[GalleryKey, asyncio.Task[None]] = {}

    @property
    def nbytes(self) -> int:
        return sum(one.nbytes for one in self._made.values())

    def of(self, key: GalleryKey, array: GalleryArray, limit: int) -> Approximation | None:
        """What leads to the nearest `limit` of a gallery; None where all of it is to be compared.

        Where it is missing or old, it is made meanwhile.
        """
        if not self._least or len(array) < self._least:
            return None
        made = self._made.get(key)
        if (made is None or made.is_old(len(array))) and key not in self._making:
            task = self._making[key] = supervised(self._make(key, array), "facens: codes")
            task.add_done_callback(lambda task: self._ended(key, task))
        return made if limit <= MOST else None

    def forget(self, key: GalleryKey) -> None:
        """The gallery is gone."""
        self._made.pop(key, None)
        if (task := self._making.pop(key, None)) is not None:
            task.cancel()

    async def close(self) -> None:
        """Forget all; a thread that makes codes is waited for."""
        tasks = list(self._making.values())
        for key in {*self._made, *self._making}:
            self.forget(key)
        if tasks:
            await asyncio.wait(tasks)

    async def ready(self) -> None:
        """Returns when nothing is being made."""
        while self._making:
            await asyncio.wait(self._making.values())

    async def _make(self, key: GalleryKey, array: GalleryArray) -> None:
        since = time.monotonic()
        unchanged = Unchanged(len(array))
        array.listeners.append(unchanged.written)
        try:
            made, recall = await self._reading(array, lambda view: _made(view, unchanged))
        except BaseException:
            array.listeners.remove(unchanged.written)
            raise
        if (before := self._made.get(key)) is not None:
            array.listeners.remove(before.unchanged.written)
        self._made[key] = made
        log.info(
            "a gallery is searched approximately",
            gallery=key[1],
            faces=unchanged.count,
            recall=round(recall, 4),
            seconds=round(time.monotonic() - since, 1),
        )

    def _ended(self, key: GalleryKey, task: asyncio.Task[None]) -> None:
        if self._making.get(key) is task:
            del self._making[key]


def _made(view: View, unchanged: Unchanged) -> tuple[Approximation, float]:
    approximation = Approximation(Codes(view), unchanged)
    return approximation, approximation.recall(view)

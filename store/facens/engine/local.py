"""The facen storage of one box: exact search in the memory of this process.

Each process has its own. It is loaded from a snapshot and MongoDB when the context opens, and follows changes
by other processes (`store.facens.sync`). It may have entries of faces that another process has just removed,
so searches look up the faces in MongoDB.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import numpy as np
from bson import ObjectId

from pipeline.types import Facen
from store.errors import FacenExistsError
from store.facens.engine.approximate import Approximations
from store.facens.engine.gallery_array import GalleryArray, GalleryView, Precision
from store.facens.engine.scan import Allowed, search
from store.facens.storage import (
    Comparison,
    FacenHit,
    FacenSearch,
    FacenSize,
    GalleryKey,
    ShardHealth,
    sorted_ids,
)

SHARD = "local"
MIN_THREAD_VALUES = 1_000_000
"""A search over more values (about a millisecond of work) runs in a thread."""
MAX_PICKED = 256
"""Up to this number of allowed ids, they are looked up individually instead of scanning the gallery."""
YIELD_SECONDS = 0.001
"""Maximum time without yielding to the event loop during additions."""
COMPARE_BATCH = 128
MAX_IDS_ON_LOOP = 10_000
GALLERIES_BATCH = 100

_Result = TypeVar("_Result")


class LocalFacens:
    """FacenStorage in memory, for one event loop."""

    def __init__(
        self,
        size: int | None = None,
        *,
        pack: str | None = None,
        precision: Precision = Precision.FULL,
        name: str = SHARD,
        approximate_from: int = 0,
    ) -> None:
        """
        Args:
            size: size of the facens. Default: that of the first facen added.
            approximate_from: galleries with at least this number of faces are searched approximately; 0:
            none.
        """
        self._size = FacenSize(size)
        self.pack = pack
        self.precision = precision
        self.name = name
        self.changes = 0
        """Number of additions and removals."""
        self._galleries: dict[GalleryKey, GalleryArray] = {}
        self._reserving = asyncio.Lock()
        self.approximations = Approximations(approximate_from, self._in_thread)

    async def add(self, owner: ObjectId, gallery: str, face_id: int, facen: Facen) -> None:
        array = await self._writable(owner, gallery, self._size.checked(facen))
        if face_id in array:
            raise FacenExistsError(f"the face {face_id} is already in the gallery {gallery}", self.name)
        array.add(face_id, facen)
        self.changes += 1

    async def add_many(self, owner: ObjectId, gallery: str, entries: Iterable[tuple[int, Facen]]) -> int:
        added, since = 0, time.perf_counter()
        for face_id, facen in entries:
            if time.perf_counter() - since > YIELD_SECONDS:
                await asyncio.sleep(0)
                since = time.perf_counter()
            array = await self._writable(owner, gallery, self._size.checked(facen))
            if face_id not in array:
                array.add(face_id, facen)
                self.changes += 1
                added += 1
        return added

    async def remove(self, owner: ObjectId, gallery: str, face_id: int) -> bool:
        while (array := self._galleries.get((owner, gallery))) is not None and array.needs_block:
            await self._reserve(array)
        if array is None or face_id not in array:
            return False
        array.remove(face_id)
        self.changes += 1
        if not len(array):
            await self.drop(owner, gallery)
        return True

    async def drop(self, owner: ObjectId, gallery: str) -> None:
        if self._galleries.pop((owner, gallery), None) is not None:
            self.approximations.forget((owner, gallery))
            self.changes += 1

    async def search(
        self,
        owner: ObjectId,
        gallery: str,
        facen: Facen,
        limit: int,
        threshold: float,
        allowed: Iterable[int] | None = None,
        ignore_errors: bool = False,
    ) -> FacenSearch:
        found = await self._search(owner, gallery, [facen], limit, threshold, allowed)
        return FacenSearch(found[0], 1, 1)

    async def search_many(
        self, owner: ObjectId, gallery: str, facens: Sequence[Facen], limit: int, threshold: float
    ) -> list[FacenSearch]:
        found = await self._search(owner, gallery, facens, limit, threshold, None)
        return [FacenSearch(hits, 1, 1) for hits in found]

    async def _search(
        self,
        owner: ObjectId,
        gallery: str,
        facens: Sequence[Facen],
        limit: int,
        threshold: float,
        allowed: Iterable[int] | None,
    ) -> list[list[FacenHit]]:
        queries = [self._size.checked(facen) for facen in facens]
        array = self._galleries.get((owner, gallery))
        if array is None or not queries:
            return [[] for _ in facens]
        stacked = np.stack(queries)
        if allowed is not None:
            ids = allowed if isinstance(allowed, (Sequence, frozenset, set, np.ndarray)) else list(allowed)
            if len(ids) <= MAX_PICKED:
                return search(array.pick(map(int, ids)), stacked, limit, threshold)
            return await self._in_thread(
                array, lambda view: search(view, stacked, limit, threshold, Allowed(ids, view.count))
            )
        if len(array) * stacked.size <= MIN_THREAD_VALUES:
            return search(array.view(), stacked, limit, threshold)
        approximation = self.approximations.get((owner, gallery), array, limit)
        search_view = approximation.search if approximation is not None else search
        return await self._in_thread(array, lambda view: search_view(view, stacked, limit, threshold))

    async def _in_thread(self, array: GalleryArray, read: Callable[[GalleryView], _Result]) -> _Result:
        """Call `read` in a thread, on the current state of the gallery."""
        view = array.begin_reading()
        try:
            # After a cancellation the view must stay valid until the thread ends.
            work = asyncio.get_running_loop().run_in_executor(None, read, view)
            try:
                return await asyncio.shield(work)
            except asyncio.CancelledError:
                await asyncio.wait([work])
                raise
        finally:
            array.end_reading()

    async def compare(
        self, owner: ObjectId, gallery: str, entries: Sequence[tuple[int, Facen]]
    ) -> Comparison:
        same, other = 0, list[int]()
        for start in range(0, len(entries), COMPARE_BATCH):
            if start:
                await asyncio.sleep(0)  # yields to other tasks
            array = self._galleries.get((owner, gallery))
            if array is not None:
                found = array.compare(dict(entries[start : start + COMPARE_BATCH]))
                same, other = same + found.same, other + found.other
        return Comparison(same, sorted(other))

    async def count(self, owner: ObjectId, gallery: str) -> int:
        array = self._galleries.get((owner, gallery))
        return len(array) if array else 0

    async def ids(self, owner: ObjectId, gallery: str) -> list[int]:
        array = self._galleries.get((owner, gallery))
        if array is None:
            return []
        if len(array) <= MAX_IDS_ON_LOOP:
            return _to_list(array.view())
        return await self._in_thread(array, _to_list)

    async def galleries(self, owner: ObjectId | None = None) -> list[GalleryKey]:
        return sorted(key for key in self._galleries if owner is None or key[0] == owner)

    async def health(self) -> list[ShardHealth]:
        count = sum(len(array) for array in self._galleries.values())
        return [ShardHealth(self.name, live=True, facens=count)]

    async def close(self) -> None:
        await self.approximations.close()
        self._galleries.clear()

    @asynccontextmanager
    async def open_view(self, owner: ObjectId, gallery: str) -> AsyncIterator[GalleryView]:
        """The current state of the gallery, which threads may read until the end of the block."""
        array = self._galleries.get((owner, gallery))
        if array is None:
            yield GalleryView([], 0, self.precision)
            return
        view = array.begin_reading()
        try:
            yield view
        finally:
            array.end_reading()

    def restore(self, galleries: dict[GalleryKey, GalleryArray]) -> None:
        """Replace all galleries."""
        for key in self._galleries:
            self.approximations.forget(key)
        self._galleries = {key: array for key, array in galleries.items() if len(array)}

    async def memory(self) -> int:
        """Bytes of facens, ids, index and codes, including reserved blocks."""
        total = self.approximations.nbytes
        for number, array in enumerate(list(self._galleries.values())):
            if number % GALLERIES_BATCH == GALLERIES_BATCH - 1:
                await asyncio.sleep(0)  # yields to other tasks
            total += array.nbytes
        return total

    async def _writable(self, owner: ObjectId, gallery: str, facen: Facen) -> GalleryArray:
        """The gallery, with memory for the next change."""
        while (array := self._array(owner, gallery, facen)).needs_block:
            await self._reserve(array)  # the gallery may be dropped meanwhile
        return array

    async def _reserve(self, array: GalleryArray) -> None:
        async with self._reserving:
            if array.needs_block:
                block = await asyncio.to_thread(array.new_block)
                if array.needs_block:  # another task may have reserved it meanwhile
                    array.reserve(block)

    def _array(self, owner: ObjectId, gallery: str, facen: Facen) -> GalleryArray:
        array = self._galleries.get((owner, gallery))
        if array is None:
            array = self._galleries[owner, gallery] = GalleryArray(len(facen), self.precision)
        return array


def _to_list(view: GalleryView) -> list[int]:
    return sorted_ids(view.ids())

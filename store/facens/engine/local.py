"""The facen storage of one box: exact search in the memory of this process.

It belongs to this process alone. It is filled from a snapshot and from MongoDB when the context opens
(`store.facens.sync.lifecycle`) and follows what this process does. A second process on the same database has
a storage of its own: it does not see what others add until it fills or catches up from MongoDB again, and may
hold faces that others have removed, which is why searches look the faces up in MongoDB before
believing in them.
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
from store.facens.engine.gallery_array import GalleryArray, Precision, View
from store.facens.engine.scan import Allowed, search
from store.facens.storage import (
    Compared,
    FacenHit,
    FacenSearch,
    GalleryKey,
    ShardHealth,
    checked_facen,
    listed,
)

SHARD = "local"
OFF_LOOP_NUMBERS = 1_000_000
"""A search over more numbers than this (about a millisecond of work) runs in a thread."""
PICKED = 256
"""Up to this number of allowed ids, they are looked up one by one."""
TURN_SECONDS = 0.001
"""An addition of many lets others have the loop after so long."""
COMPARE_AT_ONCE = 128
IDS_AT_ONCE = 10_000
GALLERIES_AT_ONCE = 100

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
        """`size`: how many numbers a facen has; None to take it from the first one. `approximate_from`:
        galleries with at least this number of faces are searched approximately; 0: none."""
        self.size = size
        self.pack = pack
        self.precision = precision
        self.name = name
        self.changes = 0
        """Goes up with everything that is added or removed."""
        self._galleries: dict[GalleryKey, GalleryArray] = {}
        self._making_room = asyncio.Lock()
        self.approximations = Approximations(approximate_from, self._reading)

    async def add(self, owner: ObjectId, gallery: str, face_id: int, facen: Facen) -> None:
        array = await self._roomy(owner, gallery, self._checked(facen))
        if face_id in array:
            raise FacenExistsError(f"the face {face_id} is in the gallery {gallery} already", self.name)
        array.add(face_id, facen)
        self.changes += 1

    async def add_many(self, owner: ObjectId, gallery: str, entries: Iterable[tuple[int, Facen]]) -> int:
        added, since = 0, time.perf_counter()
        for face_id, facen in entries:
            if time.perf_counter() - since > TURN_SECONDS:
                await asyncio.sleep(0)
                since = time.perf_counter()
            array = await self._roomy(owner, gallery, self._checked(facen))
            if face_id not in array:
                array.add(face_id, facen)
                self.changes += 1
                added += 1
        return added

    async def remove(self, owner: ObjectId, gallery: str, face_id: int) -> bool:
        while (array := self._galleries.get((owner, gallery))) is not None and array.wants_room:
            await self._make_room(array)
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
        queries = [self._checked(facen) for facen in facens]
        array = self._galleries.get((owner, gallery))
        if array is None or not queries:
            return [[] for _ in facens]
        together = np.stack(queries)
        if allowed is not None:
            chosen = allowed if isinstance(allowed, (Sequence, frozenset, set, np.ndarray)) else list(allowed)
            if len(chosen) <= PICKED:
                return search(array.picked(int(one) for one in chosen), together, limit, threshold)
            return await self._reading(
                array, lambda view: search(view, together, limit, threshold, Allowed(chosen, view.count))
            )
        if len(array) * together.size <= OFF_LOOP_NUMBERS:
            return search(array.view(), together, limit, threshold)
        near = self.approximations.of((owner, gallery), array, limit)
        look = near.search if near is not None else search
        return await self._reading(array, lambda view: look(view, together, limit, threshold))

    async def _reading(self, array: GalleryArray, look: Callable[[View], _Result]) -> _Result:
        """Looks at the gallery as it is now, in a thread."""
        view = array.begin_reading()
        try:
            # A cancelled caller must not let go of the view while the thread still looks.
            work = asyncio.get_running_loop().run_in_executor(None, look, view)
            try:
                return await asyncio.shield(work)
            except asyncio.CancelledError:
                await asyncio.wait([work])
                raise
        finally:
            array.end_reading()

    async def compare(self, owner: ObjectId, gallery: str, entries: Sequence[tuple[int, Facen]]) -> Compared:
        same, other = 0, list[int]()
        for start in range(0, len(entries), COMPARE_AT_ONCE):
            if start:
                await asyncio.sleep(0)  # others want the loop too
            array = self._galleries.get((owner, gallery))
            if array is not None:
                found = array.compare(dict(entries[start : start + COMPARE_AT_ONCE]))
                same, other = same + found.same, other + found.other
        return Compared(same, sorted(other))

    async def count(self, owner: ObjectId, gallery: str) -> int:
        array = self._galleries.get((owner, gallery))
        return len(array) if array else 0

    async def ids(self, owner: ObjectId, gallery: str) -> list[int]:
        array = self._galleries.get((owner, gallery))
        if array is None:
            return []
        if len(array) <= IDS_AT_ONCE:
            return _listed(array.view())
        return await self._reading(array, _listed)

    async def galleries(self, owner: ObjectId | None = None) -> list[GalleryKey]:
        return sorted(key for key in self._galleries if owner is None or key[0] == owner)

    async def health(self) -> list[ShardHealth]:
        count = sum(len(array) for array in self._galleries.values())
        return [ShardHealth(self.name, live=True, facens=count)]

    async def close(self) -> None:
        await self.approximations.close()
        self._galleries.clear()

    @asynccontextmanager
    async def viewed(self, owner: ObjectId, gallery: str) -> AsyncIterator[View]:
        """The gallery as it is now, for a thread to look at until the end of the block."""
        array = self._galleries.get((owner, gallery))
        if array is None:
            yield View([], 0, self.precision)
            return
        view = array.begin_reading()
        try:
            yield view
        finally:
            array.end_reading()

    def restore(self, galleries: dict[GalleryKey, GalleryArray]) -> None:
        """Takes these galleries instead of what is there."""
        for key in self._galleries:
            self.approximations.forget(key)
        self._galleries = {key: array for key, array in galleries.items() if len(array)}

    async def memory(self) -> int:
        """Bytes of facens, ids, their index and codes, what is set aside for more included."""
        total = self.approximations.nbytes
        for number, array in enumerate(list(self._galleries.values())):
            if number % GALLERIES_AT_ONCE == GALLERIES_AT_ONCE - 1:
                await asyncio.sleep(0)  # others want the loop too
            total += array.nbytes
        return total

    async def _roomy(self, owner: ObjectId, gallery: str, facen: Facen) -> GalleryArray:
        """The gallery, which may be changed at once without waiting for memory."""
        while (array := self._array(owner, gallery, facen)).wants_room:
            await self._make_room(array)  # meanwhile it may be dropped
        return array

    async def _make_room(self, array: GalleryArray) -> None:
        async with self._making_room:
            if array.wants_room:
                room = await asyncio.to_thread(array.room)
                if array.wants_room:  # still
                    array.take_room(room)

    def _array(self, owner: ObjectId, gallery: str, facen: Facen) -> GalleryArray:
        array = self._galleries.get((owner, gallery))
        if array is None:
            array = self._galleries[owner, gallery] = GalleryArray(len(facen), self.precision)
        return array

    def _checked(self, facen: Facen) -> Facen:
        checked_facen(facen, self.size)
        self.size = self.size or len(facen)
        return facen


def _listed(view: View) -> list[int]:
    return listed(view.ids())

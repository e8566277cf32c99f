"""The facen storage of one box: exact search in the memory of this process.

It belongs to this process alone. It is filled from MongoDB when the context opens
(`store.facens.filling`) and follows what this process does. A second process on the same
database has a storage of its own: it does not see what others add until it fills or catches
up from MongoDB again, and may hold faces that others have removed, which is why whoever
searches looks the faces up in MongoDB before believing in them.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from bson import ObjectId

from pipeline.types import Facen
from store.errors import BadValueError, FacenExistsError
from store.facens.gallery_array import GalleryArray
from store.facens.storage import FacenHit, FacenSearch, ShardHealth

SHARD = "local"
OFF_LOOP_NUMBERS = 1_000_000
"""A search over more numbers than this (about a millisecond of work) runs in a thread."""
ADD_AT_ONCE = 256


@dataclass(slots=True)
class _Shelf:
    """A gallery's array, and how many threads look at it."""

    array: GalleryArray
    readers: int = 0
    unread: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.unread.set()


class LocalFacens:
    """FacenStorage in memory, for one event loop."""

    def __init__(self, size: int | None = None) -> None:
        """`size`: how many numbers a facen has; None to take it from the first one."""
        self.size = size
        self._shelves: dict[tuple[ObjectId, str], _Shelf] = {}

    async def add(self, owner: ObjectId, gallery: str, face_id: int, facen: Facen) -> None:
        shelf = self._shelf(owner, gallery, self._checked(facen))
        if face_id in shelf.array:
            raise FacenExistsError(f"the face {face_id} is in the gallery {gallery} already", SHARD)
        shelf.array.add(face_id, facen)

    async def add_many(self, owner: ObjectId, gallery: str, entries: Iterable[tuple[int, Facen]]) -> int:
        added = 0
        for index, (face_id, facen) in enumerate(entries):
            if index % ADD_AT_ONCE == ADD_AT_ONCE - 1:
                await asyncio.sleep(0)  # others want the loop too
            shelf = self._shelf(owner, gallery, self._checked(facen))
            if face_id not in shelf.array:
                shelf.array.add(face_id, facen)
                added += 1
        return added

    async def remove(self, owner: ObjectId, gallery: str, face_id: int) -> bool:
        while (shelf := self._shelves.get((owner, gallery))) is not None and shelf.readers:
            # Adding leaves a running search alone; removing would move a row under its eyes.
            await shelf.unread.wait()
        if shelf is None or face_id not in shelf.array:
            return False
        shelf.array.remove(face_id)
        if not len(shelf.array):
            del self._shelves[owner, gallery]
        return True

    async def drop(self, owner: ObjectId, gallery: str) -> None:
        self._shelves.pop((owner, gallery), None)

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
        shelf = self._shelves.get((owner, gallery))
        if shelf is None or not queries:
            return [[] for _ in facens]
        together = np.stack(queries)
        if len(shelf.array) * together.size <= OFF_LOOP_NUMBERS:
            return shelf.array.view(allowed).search(together, limit, threshold)
        shelf.readers += 1
        shelf.unread.clear()
        try:
            view = shelf.array.view(allowed)
            # A cancelled caller must not let a removal in while the thread still looks.
            work = asyncio.ensure_future(asyncio.to_thread(view.search, together, limit, threshold))
            try:
                return await asyncio.shield(work)
            except asyncio.CancelledError:
                await asyncio.wait([work])
                raise
        finally:
            shelf.readers -= 1
            if not shelf.readers:
                shelf.unread.set()

    async def count(self, owner: ObjectId, gallery: str) -> int:
        shelf = self._shelves.get((owner, gallery))
        return len(shelf.array) if shelf else 0

    async def ids(self, owner: ObjectId, gallery: str) -> list[int]:
        shelf = self._shelves.get((owner, gallery))
        return shelf.array.ids() if shelf else []

    async def galleries(self, owner: ObjectId | None = None) -> list[tuple[ObjectId, str]]:
        return sorted(key for key in self._shelves if owner is None or key[0] == owner)

    async def health(self) -> list[ShardHealth]:
        return [
            ShardHealth(SHARD, live=True, facens=sum(len(shelf.array) for shelf in self._shelves.values()))
        ]

    async def close(self) -> None:
        self._shelves.clear()

    def _shelf(self, owner: ObjectId, gallery: str, facen: Facen) -> _Shelf:
        shelf = self._shelves.get((owner, gallery))
        if shelf is None:
            shelf = self._shelves[owner, gallery] = _Shelf(GalleryArray(len(facen)))
        return shelf

    def _checked(self, facen: Facen) -> Facen:
        if facen.ndim != 1 or not len(facen) or not np.isfinite(facen).all():
            raise BadValueError("a facen is a row of finite numbers")
        if self.size is None:
            self.size = len(facen)
        if len(facen) != self.size:
            raise BadValueError(f"the facens here have {self.size} numbers, this one has {len(facen)}")
        return facen

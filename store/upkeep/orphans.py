"""Orphaned pictures, to which no face refers.

Pictures cannot be recreated. Many orphans indicate a wrong database or an older backup of it rather than lost
faces, so their removal is refused above a share of all pictures.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog

from store.context import Context
from store.identity.removal import face_of_key
from store.uploads.face_pictures import PICTURES, urls_of
from store.uploads.keys import named_key

log = structlog.get_logger()

BATCH = 500
ALWAYS_ALLOWED = 10
"""Number of orphans that are removed regardless of their share."""
MAX_SHARE = 0.1
"""Maximum share of all pictures at this location that are removed at once."""
GRACE = timedelta(minutes=30)
"""Minimum age of orphans: younger pictures and documents may belong to a sighting that is being stored.
Longer than `PROVISIONAL_PERIOD`."""


@dataclass(frozen=True, slots=True)
class Orphan:
    """A picture to which no face refers."""

    key: str
    size: int
    """Bytes."""
    face_id: int
    """The id of a face that the key contains."""


@dataclass(frozen=True, slots=True)
class RemovedPictures:
    pictures: int
    size: int
    """Bytes."""

    def __add__(self, other: "RemovedPictures") -> "RemovedPictures":
        return RemovedPictures(self.pictures + other.pictures, self.size + other.size)


class Orphans:
    """Finds and removes pictures at this box's location to which no face in the database refers."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._faces = ctx.database["faces"]

    async def below(
        self, folder: str, accepts: Callable[[int], bool] = lambda _: True
    ) -> AsyncIterator[Orphan]:
        """The orphans below a folder of keys whose face ids `accepts` accepts."""
        batch: dict[str, Orphan] = {}
        async for entry in self._ctx.uploads.entries(folder):
            face_id = face_of_key(entry.key)
            if face_id is not None and accepts(face_id):
                batch[entry.key] = Orphan(entry.key, entry.size, face_id)
            if len(batch) >= BATCH:
                for orphan in await self._unnamed(batch):
                    yield orphan
                batch = {}
        for orphan in await self._unnamed(batch):
            yield orphan

    async def _unnamed(self, found: Mapping[str, Orphan]) -> list[Orphan]:
        if not found:
            return []
        ids = sorted({one.face_id for one in found.values()})
        left = await self._without_referenced(found, {"_id": {"$in": ids}})
        if left:  # another face may refer to it; a slow query without an index, but rare
            urls = {"$in": [self._ctx.uploads.url_of(key) for key in left]}
            left = await self._without_referenced(left, {"$or": [{field: urls} for field in PICTURES]})
        return list(left.values())

    async def _without_referenced(
        self, found: Mapping[str, Orphan], query: dict[str, Any]
    ) -> dict[str, Orphan]:
        named: set[str] = set()
        async for face in self._faces.ungated.find(query, dict.fromkeys(PICTURES, 1)):
            for url in urls_of(face).values():
                named.add(named_key(self._ctx.uploads, url) or "")
        return {key: one for key, one in found.items() if key not in named}

    async def remove(
        self, folders: Sequence[str], accepts: Callable[[int], bool] = lambda _: True
    ) -> RemovedPictures:
        """Remove the orphans below these folders of keys, unless `too_many` refuses their number."""
        number, removed = await self.count(folders, accepts), RemovedPictures(0, 0)
        if reason := await self.too_many(number):
            log.warning("pictures that no face names are kept; see `facend doctor`", reason=reason)
            return removed
        for folder in folders if number else ():
            async for one in self.below(folder, accepts):
                if await self._ctx.uploads.delete(one.key):
                    removed += RemovedPictures(1, one.size)
        return removed

    async def count(self, folders: Sequence[str], accepts: Callable[[int], bool] = lambda _: True) -> int:
        number = 0
        for folder in folders:
            async for _ in self.below(folder, accepts):
                number += 1
        return number

    async def too_many(self, number: int) -> str:
        """The reason to refuse the removal of this number of pictures; empty if it is allowed."""
        if number <= ALWAYS_ALLOWED:
            return ""
        total = 0
        async for _ in self._ctx.uploads.list_keys():
            total += 1
        if number <= total * MAX_SHARE:
            return ""
        return (
            f"{number} of {total} pictures at {self._ctx.uploads.address} would be removed: is this the "
            "right database, and not an older backup of it?"
        )

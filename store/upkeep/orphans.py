"""Pictures that no face names, and the largest share of them that is removed at once.

Pictures cannot be made again. Where many have no face, the database is more likely the wrong one, or an older
backup of it, than the pictures are: nothing is removed then.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog

from store.context import Context
from store.identity.removal import face_of_key
from store.uploads.keys import named_key
from store.uploads.locations import PICTURES, urls_of

log = structlog.get_logger()

BATCH = 500
ALWAYS_ALLOWED = 10
"""This number of orphans is removed whatever their share."""
LARGEST_SHARE = 0.1
"""Maximum share of all pictures at this place that is removed at once."""
GRACE = timedelta(minutes=30)
"""Younger pictures and documents may belong to a sighting that is being stored. Longer than a provisional
person waits for its first face."""


@dataclass(frozen=True, slots=True)
class Orphan:
    """A picture that no face names."""

    key: str
    size: int
    """Bytes."""
    face_id: int
    """The id in its name."""


@dataclass(frozen=True, slots=True)
class RemovedPictures:
    pictures: int
    size: int
    """Bytes."""

    def __add__(self, other: "RemovedPictures") -> "RemovedPictures":
        return RemovedPictures(self.pictures + other.pictures, self.size + other.size)


class Orphans:
    """Pictures at this box's place that no face of any user in the database names."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._faces = ctx.database["faces"]

    async def below(self, folder: str, may: Callable[[int], bool] = lambda _: True) -> AsyncIterator[Orphan]:
        """The orphans below a folder of keys whose face ids pass `may`."""
        batch: dict[str, Orphan] = {}
        async for entry in self._ctx.uploads.entries(folder):
            face_id = face_of_key(entry.key)
            if face_id is not None and may(face_id):
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
        left = await self._without_named(found, {"_id": {"$in": ids}})
        if left:  # another face may name the picture; there is no index for that, and seldom a need
            urls = {"$in": [self._ctx.uploads.url_of(key) for key in left]}
            left = await self._without_named(left, {"$or": [{field: urls} for field in PICTURES]})
        return list(left.values())

    async def _without_named(self, found: Mapping[str, Orphan], query: dict[str, Any]) -> dict[str, Orphan]:
        named: set[str] = set()
        async for face in self._faces.ungated.find(query, dict.fromkeys(PICTURES, 1)):
            for url in urls_of(face).values():
                named.add(named_key(self._ctx.uploads, url) or "")
        return {key: one for key, one in found.items() if key not in named}

    async def remove(
        self, folders: Sequence[str], may: Callable[[int], bool] = lambda _: True
    ) -> RemovedPictures:
        """Removes the orphans below these folders of keys; none where there are too many of them."""
        number, removed = await self.count(folders, may), RemovedPictures(0, 0)
        if reason := await self.too_many(number):
            log.warning("pictures that no face names are kept; see `facend doctor`", reason=reason)
            return removed
        for folder in folders if number else ():
            async for one in self.below(folder, may):
                if await self._ctx.uploads.delete(one.key):
                    removed += RemovedPictures(1, one.size)
        return removed

    async def count(self, folders: Sequence[str], may: Callable[[int], bool] = lambda _: True) -> int:
        number = 0
        for folder in folders:
            async for _ in self.below(folder, may):
                number += 1
        return number

    async def too_many(self, number: int) -> str:
        """The reason not to remove this number of pictures at once; empty where there is none."""
        if number <= ALWAYS_ALLOWED:
            return ""
        total = 0
        async for _ in self._ctx.uploads.list_keys():
            total += 1
        if number <= total * LARGEST_SHARE:
            return ""
        return (
            f"{number} of {total} pictures at {self._ctx.uploads.address} would go: is this the right "
            "database, and not an older backup of it?"
        )

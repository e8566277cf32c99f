"""Pictures that no face names, and how many of them may be removed at once.

Pictures cannot be made again. Where a large share of them has no face, the database is more likely the
wrong one, or restored from an older backup, than the pictures are: nothing is removed then.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import structlog

from store.context import Context
from store.identity.removal import face_of_key
from store.uploads.folder import named_key
from store.uploads.locations import PICTURES, urls_of

log = structlog.get_logger()

BATCH = 500
ALWAYS_ALLOWED = 10
"""Pictures that may be removed without a look at the share."""
LARGEST_SHARE = 0.1
"""The largest share of all pictures at this place that may be removed at once."""


class Orphans:
    """Pictures at this box's place that no face of any user in the database names."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._faces = ctx.database["faces"]

    async def below(
        self, folder: str, may: Callable[[int], bool] = lambda _: True
    ) -> AsyncIterator[tuple[str, int]]:
        """The orphans below a folder of keys, with the ids of their faces, of the faces that pass `may`."""
        keys: dict[str, int] = {}
        async for key in self._ctx.uploads.list_keys(folder):
            face_id = face_of_key(key)
            if face_id is not None and may(face_id):
                keys[key] = face_id
            if len(keys) >= BATCH:
                for orphan in await self._unnamed(keys):
                    yield orphan
                keys = {}
        for orphan in await self._unnamed(keys):
            yield orphan

    async def _unnamed(self, keys: Mapping[str, int]) -> list[tuple[str, int]]:
        if not keys:
            return []
        left = await self._without_named(keys, {"_id": {"$in": sorted(set(keys.values()))}})
        if left:  # another face may name the picture; there is no index for that, and seldom a need
            urls = {"$in": [self._ctx.uploads.url_of(key) for key in left]}
            left = await self._without_named(left, {"$or": [{field: urls} for field in PICTURES]})
        return list(left.items())

    async def _without_named(self, keys: Mapping[str, int], query: dict[str, Any]) -> dict[str, int]:
        named: set[str] = set()
        async for face in self._faces.ungated.find(query, dict.fromkeys(PICTURES, 1)):
            for url in urls_of(face).values():
                named.add(named_key(self._ctx.uploads, url) or "")
        return {key: face_id for key, face_id in keys.items() if key not in named}

    async def remove(self, folders: Sequence[str]) -> int:
        """Removes the orphans below these folders of keys, if there are not too many; how many there were."""
        number = await self.count(folders)
        if reason := await self.too_many(number):
            log.warning("pictures that no face names are kept; see `facend doctor`", reason=reason)
            return 0
        removed = 0
        for folder in folders if number else ():
            async for key, _ in self.below(folder):
                removed += await self._ctx.uploads.delete(key)
        return removed

    async def count(self, folders: Sequence[str], may: Callable[[int], bool] = lambda _: True) -> int:
        number = 0
        for folder in folders:
            async for _ in self.below(folder, may):
                number += 1
        return number

    async def too_many(self, number: int) -> str:
        """Why so many pictures must not be removed at once; empty where they may."""
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

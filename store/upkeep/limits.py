"""Enforces the limits of faces and picture bytes, and the disk's reserve, by removing the oldest first."""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from operator import gt

import structlog
from bson import ObjectId

from store.collections.users import UserArgument
from store.context import Context
from store.identity.removal import BATCH, FaceRemoval, at_locations, face_of_key
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error
from store.mongo.ids import first_id_of
from store.settings import ENROLLED_GALLERY
from store.upkeep.orphans import GRACE, Orphans, RemovedPictures
from store.uploads.face_pictures import EXTRACTED, LOCATIONS
from store.uploads.locations import KnownLocations

log = structlog.get_logger()

VISITORS = {"gallery": {"$ne": ENROLLED_GALLERY}}
"""Filter for faces that may be removed by age or number: all except those of enrolled people."""


class Limits:
    """Limits the faces and pictures of one user at this box, and frees space on the disk of the pictures."""

    def __init__(self, ctx: Context, user: UserArgument) -> None:
        self._ctx = ctx
        self._user = user
        self._removal = FaceRemoval(ctx, user)

    async def faces(self, maximum: int, locations: KnownLocations) -> tuple[int, int]:
        """Remove this box's oldest faces, with their pictures, until `maximum` are left.

        Returns the numbers of removed faces and pictures.
        """
        faces = pictures = 0
        mine = {"$and": [VISITORS, at_locations(locations)]}
        not_recorded = self._removal.faces({**VISITORS, LOCATIONS: {"$exists": False}})
        others = sum([1 async for face in not_recorded if not await self._removal.is_own(face)])
        excess = await self._ctx.faces.count(self._user, mine) - others - maximum
        foreign = 0
        while faces < excess:
            order, number = [("timestamp", 1), ("_id", 1)], min(BATCH, excess - faces)
            oldest = await self._ctx.faces.find(self._user, mine, sort=order, skip=foreign, limit=number)
            if not oldest:
                break
            for face in oldest:
                if await self._removal.is_own(face):
                    _, removed = await self._removal.remove(face)
                    faces, pictures = faces + 1, pictures + removed
                else:
                    foreign += 1
        return faces, pictures

    async def picture_bytes(self, maximum: int) -> int:
        """Remove orphans, then pictures of the oldest days, until `maximum` bytes are left; faces stay.

        Returns the number of removed pictures.
        """
        owner = await self._ctx.users.owner(self._user)
        excess = await self._bytes(str(owner)) - maximum
        if excess <= 0:
            return 0
        removed = await Orphans(self._ctx).remove([str(owner)])
        if removed.size < excess:
            removed += await self._free_oldest([owner], excess - removed.size)
        if removed.size < excess:
            log.warning("the pictures that must stay exceed the limit", excess_bytes=excess - removed.size)
        return removed.pictures

    async def free(self, wanted: int) -> int:
        """Remove pictures of any user until `wanted` bytes are freed; returns the number of freed bytes.

        Orphans and pictures of extracted faces without an owner are removed first, then those of the
        oldest days; their faces stay. Pictures of enrolled people and of disabled users stay.
        """
        if (await self._ctx.locations.known()).here is None:
            return 0
        owners = await self._owners_here()
        newest = int((datetime.now(UTC) - GRACE).timestamp() * 1000)
        is_old = partial(gt, first_id_of(newest))
        freed = (await Orphans(self._ctx).remove([str(owner) for owner in owners], is_old)).size
        if freed < wanted:
            freed += await self._free_extracted(wanted - freed, is_old)
        active = [owner for owner, is_active in owners.items() if is_active]
        return freed + (await self._free_oldest(active, wanted - freed)).size

    async def _owners_here(self) -> dict[ObjectId, bool]:
        """The users with pictures at this location, and whether each is active."""
        folders = await self._ctx.uploads.list_folders()
        ids = [ObjectId(folder) for folder in folders if ObjectId.is_valid(folder)]
        try:
            found = self._ctx.database["users"].find({"_id": {"$in": ids}}, {"active": 1})
            return {user["_id"]: user.get("active") is True async for user in found}
        except DRIVER_ERRORS as error:
            raise translate_error(error, "users.find") from error

    async def _free_extracted(self, wanted: int, is_old: Callable[[int], bool]) -> int:
        freed = 0
        async for entry in self._ctx.uploads.entries(EXTRACTED):
            if freed >= wanted:
                break
            face_id = face_of_key(entry.key)
            if face_id is not None and is_old(face_id) and await self._ctx.uploads.delete(entry.key):
                freed += entry.size
        return freed

    async def _free_oldest(self, owners: Sequence[ObjectId], wanted: int) -> RemovedPictures:
        """Remove pictures, beginning with the oldest days of all owners."""
        days = [(day, owner) for owner in owners for day in await self._ctx.uploads.list_folders(str(owner))]
        removed = RemovedPictures(0, 0)
        for day, owner in sorted(days):
            if removed.size >= wanted:
                break
            removed += await self._free_day(owner, day, wanted - removed.size)
        return removed

    async def _bytes(self, owner: str) -> int:
        total = 0
        async for entry in self._ctx.uploads.entries(owner):
            total += entry.size
        return total

    async def _free_day(self, owner: ObjectId, day: str, excess: int) -> RemovedPictures:
        """Remove the day's pictures, those of the oldest faces first, until `excess` bytes are freed."""
        removal, removed = FaceRemoval(self._ctx, owner), RemovedPictures(0, 0)
        async for sizes in self._batches(f"{owner}/{day}"):
            found = await self._ctx.faces.find(owner, {"_id": {"$in": list(sizes)}})
            faces = {face["_id"]: face for face in found}
            for face_id, size in sizes.items():
                if removed.size >= excess:
                    return removed
                face = faces.get(face_id)
                if face is None or ENROLLED_GALLERY in face.galleries:
                    continue
                if pictures := await removal.strip(face):
                    removed += RemovedPictures(pictures, size)
        return removed

    async def _batches(self, folder: str) -> AsyncIterator[dict[int, int]]:
        """Bytes of each face's pictures, in batches. Keys begin with the face's id, so that a face's keys are
        adjacent."""
        sizes: dict[int, int] = {}
        async for entry in self._ctx.uploads.entries(folder):
            if (face_id := face_of_key(entry.key)) is None:
                continue
            if face_id not in sizes and len(sizes) >= BATCH:
                yield sizes
                sizes = {}
            sizes[face_id] = sizes.get(face_id, 0) + entry.size
        yield sizes

"""Not more than so many faces, and not more than so many bytes of pictures: the oldest go first."""

from collections.abc import AsyncIterator

import structlog

from store.collections.users import UserArgument
from store.context import Context
from store.face import Face
from store.identity.removal import BATCH, FaceRemoval, at_places, face_of_key
from store.settings import ENROLLED_GALLERY
from store.upkeep.orphans import Orphans
from store.uploads.locations import LOCATIONS, Places

log = structlog.get_logger()

VISITORS = {"gallery": {"$ne": ENROLLED_GALLERY}}
"""Enrolled people were put there on purpose: neither age nor number takes them away."""


class Limits:
    """Keeps what one user has on this box below a number of faces and of bytes."""

    def __init__(self, ctx: Context, user: UserArgument) -> None:
        self._ctx = ctx
        self._user = user
        self._removal = FaceRemoval(ctx, user)

    async def faces(self, most: int, places: Places) -> tuple[int, int]:
        """Removes this box's oldest faces, with their pictures, until `most` are left; how many of each."""
        faces = pictures = 0
        mine = {"$and": [VISITORS, at_places(places)]}
        not_recorded = self._removal.faces({**VISITORS, LOCATIONS: {"$exists": False}})
        others = sum([1 async for face in not_recorded if not await self._removal.is_own(face)])
        excess = await self._ctx.faces.count(self._user, mine) - others - most
        passed_over = 0
        while faces < excess:
            order, number = [("timestamp", 1), ("_id", 1)], min(BATCH, excess - faces)
            oldest = await self._ctx.faces.find(self._user, mine, sort=order, skip=passed_over, limit=number)
            if not oldest:
                break
            for face in oldest:
                if await self._removal.is_own(face):
                    _, removed = await self._removal.remove(face)
                    faces, pictures = faces + 1, pictures + removed
                else:
                    passed_over += 1
        return faces, pictures

    async def picture_bytes(self, most: int) -> int:
        """Removes pictures of the oldest days until `most` bytes are left; their faces stay.

        Returns how many pictures went. Pictures are listed one day after the other.
        """
        owner = str(await self._ctx.users.owner(self._user))
        removed, excess = 0, await self._bytes(owner) - most
        if excess > 0 and (removed := await Orphans(self._ctx).remove([owner])):
            excess = await self._bytes(owner) - most
        pictures, freed = await self._free_oldest(owner, excess)
        if freed < excess:
            log.warning(
                "the pictures that must stay take more room than allowed", bytes_too_many=excess - freed
            )
        return removed + pictures

    async def free(self, wanted: int) -> int:
        """Removes pictures of the oldest days until that many bytes are freed; their faces stay.

        Returns how many bytes were. Pictures of enrolled people stay.
        """
        owner = str(await self._ctx.users.owner(self._user))
        if (await self._ctx.locations.places()).here is None:
            return 0
        _, freed = await self._free_oldest(owner, wanted)
        return freed

    async def _free_oldest(self, owner: str, wanted: int) -> tuple[int, int]:
        """How many pictures went, and their bytes."""
        removed = freed = 0
        for day in await self._ctx.uploads.list_folders(owner):
            if freed >= wanted:
                break
            pictures, size = await self._thin_out(f"{owner}/{day}", wanted - freed)
            removed, freed = removed + pictures, freed + size
        return removed, freed

    async def _bytes(self, owner: str) -> int:
        total = 0
        async for entry in self._ctx.uploads.entries(owner):
            total += entry.size
        return total

    async def _thin_out(self, folder: str, excess: int) -> tuple[int, int]:
        """Removes the folder's pictures, the oldest faces first, until `excess` bytes are freed."""
        removed = freed = 0
        async for sizes in self._batches(folder):
            faces = {face["_id"]: face for face in await self._find(list(sizes))}
            for face_id, size in sizes.items():
                if freed >= excess:
                    return removed, freed
                face = faces.get(face_id)
                if face is None or ENROLLED_GALLERY in face.galleries:
                    continue
                if gone := await self._removal.strip(face):
                    removed, freed = removed + gone, freed + size
        return removed, freed

    async def _batches(self, folder: str) -> AsyncIterator[dict[int, int]]:
        """The bytes of each face's pictures. Keys begin with the face's id: those of a face adjoin."""
        sizes: dict[int, int] = {}
        async for entry in self._ctx.uploads.entries(folder):
            if (face_id := face_of_key(entry.key)) is None:
                continue
            if face_id not in sizes and len(sizes) >= BATCH:
                yield sizes
                sizes = {}
            sizes[face_id] = sizes.get(face_id, 0) + entry.size
        yield sizes

    async def _find(self, ids: list[int]) -> list[Face]:
        return await self._ctx.faces.find(self._user, {"_id": {"$in": ids}})

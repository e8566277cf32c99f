"""Not more than so many faces, and not more than so many bytes of pictures: the oldest go first."""

from collections import defaultdict

import structlog

from store.context import Context
from store.face import Face
from store.removal import BATCH, FaceRemoval, face_of_key, pictures_named
from store.settings import ENROLLED_GALLERY
from store.users import UserArgument

log = structlog.get_logger()

VISITORS = {"gallery": {"$ne": ENROLLED_GALLERY}}
"""Enrolled people were put there on purpose: neither age nor number takes them away."""


class Limits:
    """Keeps what one user has below a number of faces and of bytes."""

    def __init__(self, ctx: Context, user: UserArgument) -> None:
        self._ctx = ctx
        self._user = user
        self._removal = FaceRemoval(ctx, user)

    async def faces(self, most: int) -> tuple[int, int]:
        """Removes the oldest faces, with their pictures, until `most` are left; returns how many of each."""
        faces = pictures = 0
        excess = await self._ctx.faces.count(self._user, VISITORS) - most
        while faces < excess:
            oldest = await self._ctx.faces.find(
                self._user, VISITORS, sort=[("timestamp", 1), ("_id", 1)], limit=min(BATCH, excess - faces)
            )
            if not oldest:
                break
            for face in oldest:
                _, removed = await self._removal.remove(face)
                faces, pictures = faces + 1, pictures + removed
        return faces, pictures

    async def picture_bytes(self, most: int) -> int:
        """Removes pictures of the oldest days until `most` bytes are left; their faces stay.

        Returns how many pictures went. Looks at one day's pictures at a time, so that memory stays small.
        """
        owner = str(await self._ctx.users.owner(self._user))
        days = await self._ctx.uploads.list_folders(owner)
        excess = -most
        for day in days:
            excess += sum((await self._ctx.uploads.sizes(f"{owner}/{day}")).values())
        removed = 0
        for day in days:
            if excess <= 0:
                break
            pictures, freed = await self._thin_out(f"{owner}/{day}", excess)
            removed, excess = removed + pictures, excess - freed
        if excess > 0:
            log.warning("the pictures that must stay take more room than allowed", bytes_too_many=excess)
        return removed

    async def _thin_out(self, folder: str, excess: int) -> tuple[int, int]:
        """Removes the folder's pictures, the oldest faces first, until `excess` bytes are freed."""
        keys: dict[int, list[str]] = defaultdict(list)
        sizes = await self._ctx.uploads.sizes(folder)
        for key in sizes:
            if (face_id := face_of_key(key)) is not None:
                keys[face_id].append(key)
        ids = sorted(keys)
        removed = freed = 0
        for start in range(0, len(ids), BATCH):
            batch = ids[start : start + BATCH]
            faces = {face["_id"]: face for face in await self._find(batch)}
            named = await pictures_named(self._ctx, await self._ctx.users.owner(self._user), batch)
            for face_id in batch:
                if freed >= excess:
                    return removed, freed
                face = faces.get(face_id)
                if face is not None and ENROLLED_GALLERY in face.galleries:
                    continue
                if face is None and any(self._ctx.uploads.url_of(key) in named for key in keys[face_id]):
                    continue  # a malformed face's
                if face is None:
                    removed += sum([await self._ctx.uploads.delete(key) for key in keys[face_id]])
                else:
                    removed += await self._removal.strip(face)
                freed += sum(sizes[key] for key in keys[face_id])
        return removed, freed

    async def _find(self, ids: list[int]) -> list[Face]:
        return await self._ctx.faces.find(self._user, {"_id": {"$in": ids}})

"""Erasing a person: faces, facens and pictures go everywhere, and that is looked at afterwards.

The photo of a sighting is the whole frame. Where another face was cut from the same frame,
its photo shows the erased person too and goes; that face keeps its own cut pictures.

What stays: the id of the person with the time of the erasure (collection `erased`, by which
`facend doctor` removes a face that was on its way meanwhile), and what MongoDB's own log of
operations and the disk's free blocks hold until they are written over.
"""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from bson import ObjectId
from pymongo.errors import DuplicateKeyError

from store.context import Context
from store.driver_errors import DRIVER_ERRORS, ours
from store.errors import NotFoundError, StoreError
from store.face import Face
from store.guard import checked_id
from store.person_changes import CHANGES
from store.person_evidence import PROPOSALS
from store.persons import Persons
from store.removal import FaceRemoval, face_of_key
from store.users import UserArgument

log = structlog.get_logger()

ERASED = "erased"
"""The collection of the erased persons' ids."""
ROUNDS = 5
"""A recorder in the middle of a sighting may add another face while the first ones go."""


@dataclass(frozen=True, slots=True)
class Erased:
    """What was removed, in numbers."""

    person_id: int
    faces: int
    pictures: int
    """Of the person's faces."""
    shared_photos: int
    """Whole frames that belong to other faces and showed the person, too."""


class Erasure:
    """Erases persons of one user. Can be repeated after a crash at any moment."""

    def __init__(self, ctx: Context, user: UserArgument) -> None:
        self._ctx = ctx
        self._user = user
        self._removal = FaceRemoval(ctx, user)

    async def erase(self, person_id: int) -> Erased:
        """Removes the person and everything of theirs; returns when a look everywhere finds nothing more.

        Raises:
            NotFoundError: the user has no such person, and no face of them.
            StoreError: something is still there, or a part cannot be reached; erase again.
        """
        owner = await self._ctx.users.owner(self._user)
        mine = {"_id": checked_id(person_id, "person")}
        theirs = {"person_id": person_id}
        faces = self._ctx.faces
        if not (
            await self._ctx.persons.find_one(owner, mine)
            or await faces.find_one(owner, theirs)
            or await self._was_erased(owner, person_id)
        ):
            raise NotFoundError(f"there is no person {person_id}; `facend persons list` shows all")
        await self._remember(owner, person_id)
        gone: set[int] = set()
        pictures = shared = 0
        for _ in range(ROUNDS):
            async for face in self._removal.faces(theirs):
                shared += await self._strip_same_frame(face, person_id)
                pictures += (await self._removal.remove(face))[1]
                gone.add(face["_id"])
            await self._remove_person(owner, person_id)
            if await faces.find_one(owner, theirs) is None:
                break
        pictures += await self._sweep(owner, gone)
        await self._forget_snapshots()
        await self._prove(owner, person_id, gone)
        erased = Erased(person_id, len(gone), pictures, shared)
        log.info("a person is erased", faces=erased.faces, pictures=pictures, shared_photos=shared)
        return erased

    async def _strip_same_frame(self, face: Face, person_id: int) -> int:
        if not face.get("photo_hash"):
            return 0
        same = {"photo_hash": face["photo_hash"], "person_id": {"$ne": person_id}, "photo": {"$exists": True}}
        return sum(
            [await self._removal.strip(other, ("photo",)) async for other in self._removal.faces(same)]
        )

    async def _was_erased(self, owner: ObjectId, person_id: int) -> bool:
        try:
            found = await self._ctx.database[ERASED].find_one({"_id": person_id, "owner": owner})
        except DRIVER_ERRORS as error:
            raise ours(error, "erased.find_one") from error
        return found is not None

    async def _remember(self, owner: ObjectId, person_id: int) -> None:
        note = {"$set": {"at": datetime.now(UTC)}}
        try:
            await self._ctx.database[ERASED].update_one({"_id": person_id, "owner": owner}, note, upsert=True)
        except DuplicateKeyError:
            log.warning(
                "an erased person's id was another user's, whose note of it stays", person_id=person_id
            )
        except DRIVER_ERRORS as error:
            raise ours(error, "erased.update_one") from error

    async def _remove_person(self, owner: ObjectId, person_id: int) -> None:
        # Not by Persons.remove_one, which makes a face that comes in meanwhile nobody's: it must go, too.
        try:
            await self._ctx.database[Persons.name].delete_one({"_id": person_id, "owner": owner})
            involved = {"owner": owner, "$or": [{"person": person_id}, {"other": person_id}]}
            for notes in (CHANGES, PROPOSALS):  # they may hold a name, and cannot be undone any more
                await self._ctx.database[notes].delete_many(involved)
        except DRIVER_ERRORS as error:
            raise ours(error, "persons.delete_one") from error

    async def _sweep(self, owner: ObjectId, gone: set[int]) -> int:
        """Pictures of these faces that no document named."""
        removed = 0
        if gone:
            async for key in self._ctx.uploads.list_keys(str(owner)):
                if face_of_key(key) in gone:
                    removed += await self._ctx.uploads.delete(key)
        return removed

    async def _forget_snapshots(self) -> None:
        """The facens on disk: those of before are still among them, and the next start does without."""
        try:
            await asyncio.to_thread(self._ctx.keeping.forget)
        except OSError as error:
            raise StoreError(
                f"the snapshots of the facens cannot be removed: {error}; erase again"
            ) from error

    async def _prove(self, owner: ObjectId, person_id: int, gone: set[int]) -> None:
        left = []
        if number := await self._ctx.faces.count(owner, {"person_id": person_id}):
            left.append(f"{number} faces")
        if await self._ctx.persons.find_one(owner, {"_id": person_id}) is not None:
            left.append("the person's document")
        for _, gallery in await self._ctx.facens.galleries(owner):
            if number := len(gone.intersection(await self._ctx.facens.ids(owner, gallery))):
                left.append(f"{number} facens in the gallery {gallery}")
        if gone:
            keys = [key async for key in self._ctx.uploads.list_keys(str(owner)) if face_of_key(key) in gone]
            if keys:
                left.append(f"{len(keys)} pictures")
        if left:
            raise StoreError(f"of the person {person_id} there are still {', '.join(left)}; erase them again")

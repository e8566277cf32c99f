"""Erasing a person: everything of theirs that can be found goes, and what was not reached is reported.

Faces without a person that look like them go too, by the low threshold of the model pack: a camera withheld
them. Other persons who look the same are shown, and erased where that is asked for. The photo of a sighting
is the whole frame: where another face was cut from the same frame, or its visit was seen beside one of
theirs, its photo shows the erased person too and goes; that face keeps its own cut pictures.

What stays: the id of the person with the time of the erasure (collection `erased`, by which
`facend doctor` removes a face that was on its way meanwhile), and what MongoDB's own log of
operations and the disk's free blocks hold until they are written over.
"""

import asyncio
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from bson import ObjectId
from pymongo.errors import DuplicateKeyError

from store.collections.persons import Persons
from store.collections.users import UserArgument
from store.context import Context
from store.errors import NotFoundError, StoreError
from store.face import Face, beside, visit_of
from store.identity.changes import CHANGES
from store.identity.evidence import PROPOSALS
from store.identity.lookalikes import Double, Lookalikes
from store.identity.removal import FaceRemoval, face_of_key
from store.mongo.driver_errors import DRIVER_ERRORS, ours
from store.mongo.guard import checked_id
from store.uploads.locations import pictures_of

log = structlog.get_logger()

ERASED = "erased"
"""The collection of the erased persons' ids."""
ROUNDS = 5
"""A recorder in the middle of a sighting may add another face while the first ones go."""


BATCH = 100
VISIT_LENGTH = timedelta(hours=12)
"""Two visits that were seen beside each other have pictures at most this far apart."""
NOT_CHECKED = (
    "backups of MongoDB and of the pictures",
    "MongoDB's log of operations and free blocks of the disks, until they are overwritten",
    "sightings that wait in a spool: they belong to nobody yet",
    "photos in which nobody was seen beside the others",
)


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Pictures that this box cannot reach; the box that can removes them when it next looks."""

    place: str
    pictures: int


@dataclass(frozen=True, slots=True)
class Erased:
    """What was removed, in numbers, and what was not."""

    person_id: int
    faces: int
    pictures: int
    """Of the removed faces, at this box's place."""
    shared_photos: int
    """Whole frames that belong to other faces and showed the person, too."""
    name: str | None = None
    unassigned: int = 0
    """Faces without a person that looked like them. Not among `faces`."""
    doubles: tuple[int, ...] = ()
    """Other persons who were erased along."""
    doubles_left: tuple[Double, ...] = ()
    """Other persons who look the same and stay."""
    elsewhere: tuple[Elsewhere, ...] = ()
    not_checked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Preview:
    """What an erasure would remove."""

    person_id: int
    name: str | None
    faces: int
    pictures: int
    unassigned: int
    doubles: tuple[Double, ...]


class Erasure:
    """Erases persons of one user. Can be repeated after a crash at any moment."""

    def __init__(self, ctx: Context, user: UserArgument, low: float | None = None) -> None:
        """`low`: the confidence from which a face without a person is theirs; by default the low threshold
        of the model pack of their facens."""
        self._ctx = ctx
        self._user = user
        self._low = low

    async def preview(self, person_id: int) -> Preview:
        """What erasing the person would remove, and who looks the same. NotFoundError as in `erase`."""
        owner = await self._ctx.users.owner(self._user)
        name = await self._name(owner, person_id)
        alike = Lookalikes(self._ctx, owner, self._low)
        await alike.learn([person_id])
        faces = pictures = 0
        async for face in FaceRemoval(self._ctx, owner).faces({"person_id": person_id}):
            faces, pictures = faces + 1, pictures + len(pictures_of(self._ctx.uploads, face))
        unassigned = 0
        async for _ in alike.unassigned():
            unassigned += 1
        doubles = tuple(await alike.doubles([person_id]))
        return Preview(person_id, name, faces, pictures, unassigned, doubles)

    async def erase(
        self, person_id: int, doubles: Collection[int] = (), *, with_doubles: bool = False
    ) -> Erased:
        """Removes the person and everything of theirs; returns when a look everywhere finds nothing more.

        Args:
            doubles: other persons, who are the same human being and go, too.
            with_doubles: whether everybody who looks the same goes, too.

        Raises:
            NotFoundError: the user has no such person, and no face of them.
            StoreError: something is still there, or a part cannot be reached; erase again.
        """
        owner = await self._ctx.users.owner(self._user)
        name = await self._name(owner, person_id)
        for double in doubles:
            await self._name(owner, double)
        persons = list(dict.fromkeys([person_id, *doubles]))
        alike = Lookalikes(self._ctx, owner, self._low)
        await alike.learn(persons)
        left = await alike.doubles(persons)
        if with_doubles and left:
            persons += [one.person_id for one in left]
            await alike.learn(persons)
            left = await alike.doubles(persons)
        await self._remember(owner, persons)
        work = _Work(self._ctx, owner, persons, alike)
        await work.run()
        for person in persons:
            await self._remove_person(owner, person)
        pictures = work.pictures + await self._sweep(owner, work.gone)
        await self._forget_snapshots()
        await self._prove(owner, persons, work.gone)
        erased = Erased(
            person_id,
            len(work.gone) - work.unassigned,
            pictures,
            work.shared,
            name,
            work.unassigned,
            tuple(persons[1:]),
            tuple(left),
            await self._elsewhere(work.removal.left_to_others),
            await self._not_checked(alike),
        )
        log.info(
            "a person is erased",
            faces=len(work.gone),
            pictures=pictures,
            shared_photos=work.shared,
            persons=len(persons),
        )
        return erased

    async def _name(self, owner: ObjectId, person_id: int) -> str | None:
        """The person's name, if there is one. NotFoundError where nothing is known of the person."""
        person = await self._ctx.persons.find_one(owner, {"_id": checked_id(person_id, "person")})
        if person is not None:
            name = person.get("name")
            return str(name) if name is not None else None
        if await self._ctx.faces.find_one(owner, {"person_id": person_id}) is None and not (
            await self._was_erased(owner, person_id)
        ):
            raise NotFoundError(f"there is no person {person_id}; `facend persons list` shows all")
        return None

    async def _elsewhere(self, left: Counter[str | None]) -> tuple[Elsewhere, ...]:
        places = await self._ctx.locations.places()
        return tuple(Elsewhere(places.describe(place), number) for place, number in left.items())

    async def _not_checked(self, alike: Lookalikes) -> tuple[str, ...]:
        more = []
        if not alike.is_comparable:
            more.append(
                "faces without a person, and other persons: there is no facen left to compare with, or "
                "nothing is known of its model pack"
            )
        places = await self._ctx.locations.places()
        if any(use.location not in places.mine for use in places.uses):
            more.append("snapshots of facens on the disks of other boxes, until they are written again")
        return (*NOT_CHECKED, *more)

    async def _was_erased(self, owner: ObjectId, person_id: int) -> bool:
        try:
            found = await self._ctx.database[ERASED].find_one({"_id": person_id, "owner": owner})
        except DRIVER_ERRORS as error:
            raise ours(error, "erased.find_one") from error
        return found is not None

    async def _remember(self, owner: ObjectId, persons: Sequence[int]) -> None:
        note = {"$set": {"at": datetime.now(UTC)}}
        try:
            for person in persons:
                this = {"_id": person, "owner": owner}
                try:
                    await self._ctx.database[ERASED].update_one(this, note, upsert=True)
                except DuplicateKeyError:
                    log.warning(
                        "an erased person's id was another user's, whose note of it stays", person_id=person
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

    async def _prove(self, owner: ObjectId, persons: Sequence[int], gone: set[int]) -> None:
        left = []
        if number := await self._ctx.faces.count(owner, {"person_id": {"$in": list(persons)}}):
            left.append(f"{number} faces")
        if await self._ctx.persons.find_one(owner, {"_id": {"$in": list(persons)}}) is not None:
            left.append("the person's document")
        for _, gallery in await self._ctx.facens.galleries(owner):
            if number := len(gone.intersection(await self._ctx.facens.ids(owner, gallery))):
                left.append(f"{number} facens in the gallery {gallery}")
        number = 0
        if gone:
            async for key in self._ctx.uploads.list_keys(str(owner)):
                number += face_of_key(key) in gone
        if number:
            left.append(f"{number} pictures")
        if left:
            raise StoreError(
                f"of the person {persons[0]} there are still {', '.join(left)}; erase them again"
            )


class _Work:
    """Removes the faces of some persons, and those without a person that look like them."""

    def __init__(self, ctx: Context, owner: ObjectId, persons: Sequence[int], alike: Lookalikes) -> None:
        self._ctx = ctx
        self._owner = owner
        self._theirs = {"person_id": {"$in": list(persons)}}
        self._alike = alike
        self.removal = FaceRemoval(ctx, owner)
        self.gone: set[int] = set()
        self.unassigned = self.pictures = self.shared = 0

    async def run(self) -> None:
        """Until a look finds nothing more. Faces without a person go first: after a crash in between the
        person's own facens still lead to the rest."""
        for _ in range(ROUNDS):
            before = len(self.gone)
            self.unassigned += await self._remove([face async for face in self._alike.unassigned()])
            batch: list[Face] = []
            async for face in self.removal.faces(self._theirs):
                batch.append(face)
                if len(batch) >= BATCH:
                    await self._remove(batch)
                    batch = []
            await self._remove(batch)
            if len(self.gone) == before:
                return

    async def _remove(self, faces: Sequence[Face]) -> int:
        for start in range(0, len(faces), BATCH):
            batch = faces[start : start + BATCH]
            await self._strip_photos_that_show(batch)
            for face in batch:
                self.pictures += (await self.removal.remove(face))[1]
                self.gone.add(face["_id"])
        return len(faces)

    async def _strip_photos_that_show(self, faces: Sequence[Face]) -> None:
        """The photos of other faces: of the same frame, and of visits that were seen beside one of theirs."""
        conditions: list[dict[str, Any]] = []
        if hashes := [face["photo_hash"] for face in faces if face.get("photo_hash")]:
            conditions.append({"photo_hash": {"$in": hashes}})
        for face in faces:
            if seen := beside(face):
                conditions.append({"cam_id": face.get("cam_id"), "detector_info.visit_id": {"$in": seen}})
            if (visit := visit_of(face)) is not None and (at := face.timestamp) is not None:
                near = {"$gte": at - VISIT_LENGTH, "$lte": at + VISIT_LENGTH}
                met = {"cam_id": face.get("cam_id"), "detector_info.beside": visit, "timestamp": near}
                conditions.append(met)
        if not conditions:
            return
        ids = [face["_id"] for face in faces]
        others = {"$or": conditions, "photo": {"$exists": True}, "$nor": [self._theirs]}
        async for other in self.removal.faces(others):
            if other["_id"] not in ids:
                self.shared += await self.removal.strip(other, ("photo",), everywhere=True)

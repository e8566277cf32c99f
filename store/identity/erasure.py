"""Erases a person, and reports what was not reached.

Similar faces without a person, by the low threshold of the model pack, are erased too. Similar other persons
are reported, and erased on request. A sighting's photo is the whole frame: where another face is of the same
frame, or of a visit recorded together with one of the person's, its photo is removed and its cut pictures
stay.

What remains: the id of the person with the time of the erasure (collection `erased`, by which `facend doctor`
finds a face that was being stored), and what MongoDB's log of operations and free disk blocks hold until they
are overwritten.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import structlog
from bson import ObjectId
from pymongo.errors import DuplicateKeyError

from pipeline.types import Sighting
from store.collections.persons import Persons
from store.collections.users import UserArgument
from store.context import Context
from store.errors import NotFoundError, StoreError
from store.face import Face
from store.face_fields import co_visible_visits, visit_of
from store.identity.changes import CHANGES
from store.identity.erasure_report import NOT_CHECKED, Elsewhere, Erased, Preview, RemovedSightings
from store.identity.evidence import PROPOSALS
from store.identity.lookalikes import Lookalikes
from store.identity.removal import FaceRemoval, face_of_key, has_faces
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error
from store.mongo.guard import checked_id
from store.mongo.shapes import malformed
from store.uploads.keys import stored_key
from store.uploads.locations import pictures_of, urls_of

log = structlog.get_logger()

ERASED = "erased"
"""The collection of the erased persons' ids."""
ROUNDS = 5
"""Maximum passes: a recorder may add another face during the first ones."""
BATCH = 100
VISIT_LENGTH = timedelta(hours=12)
"""Maximum time between pictures of two co-visible visits."""


class StoredSightings(Protocol):
    """Sightings on disk that the database does not know yet, or never will."""

    @property
    def address(self) -> str:
        """Where they lie."""
        ...

    def remove_matching(self, matches: Callable[[Sighting], bool | None]) -> RemovedSightings:
        """Removes those for which `matches` is true; None stands for one that cannot be compared.

        OSError where they cannot be read or removed.
        """
        ...


class Erasure:
    """Erases persons of one user. Can be repeated after a crash at any moment."""

    def __init__(
        self,
        ctx: Context,
        user: UserArgument,
        low: float | None = None,
        sightings: StoredSightings | None = None,
    ) -> None:
        """
        Args:
            low: the confidence from which a face without a person is theirs; by default the low threshold of
                the model pack of their facens.
            sightings: the user's own sightings on this box's disk, which are erased too.
        """
        self._ctx = ctx
        self._user = user
        self._low = low
        self._sightings = sightings
        self._faces = ctx.database["faces"].ungated

    async def preview(self, person_id: int) -> Preview:
        """What `erase` would remove, and similar persons. NotFoundError as in `erase`."""
        owner = await self._ctx.users.owner(self._user)
        name = await self._name(owner, person_id)
        alike = Lookalikes(self._ctx, owner, self._low)
        await alike.learn([person_id])
        faces = pictures = 0
        async for face in FaceRemoval(self._ctx, owner).faces({"person_id": person_id}):
            faces, pictures = faces + 1, pictures + len(pictures_of(self._ctx.uploads, face))
        async for document in malformed_faces(self._ctx, owner, [person_id]):
            faces, pictures = faces + 1, pictures + len(pictures_of(self._ctx.uploads, document))
        unassigned = 0
        async for _ in alike.unassigned():
            unassigned += 1
        doubles = tuple(await alike.doubles([person_id]))
        return Preview(person_id, name, faces, pictures, unassigned, doubles)

    async def erase(
        self, person_id: int, doubles: Collection[int] = (), *, with_doubles: bool = False
    ) -> Erased:
        """Removes the person and everything of theirs; returns once a search finds nothing left.

        Args:
            doubles: other persons who are the same human being; they are erased too.
            with_doubles: whether all persons who look the same are erased too.

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
        sightings = await self._remove_sightings(alike)
        work = _Work(self._ctx, owner, persons, alike)
        await work.run()
        for person in persons:
            await self._remove_person(owner, person)
        pictures = work.pictures + await self._sweep(owner, work.gone)
        await self._forget_snapshots()
        await self._prove(owner, persons, work.gone)
        erased = Erased(
            person_id,
            work.faces,
            pictures,
            work.shared,
            name,
            work.unassigned,
            sightings.removed,
            tuple(persons[1:]),
            tuple(left),
            await self._elsewhere(work.removal.left_to_others),
            tuple(dict.fromkeys(work.foreign_urls)),
            await self._not_checked(alike, sightings),
        )
        log.info(
            "a person is erased",
            faces=work.faces + work.unassigned,
            pictures=pictures,
            sightings=sightings.removed,
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
        if not (
            await self._has_document(owner, [person_id])
            or await has_faces(self._ctx, owner, person_id)
            or await self._was_erased(owner, person_id)
        ):
            raise NotFoundError(f"there is no person {person_id}; `facend persons list` shows all")
        return None

    async def _elsewhere(self, left: Counter[str | None]) -> tuple[Elsewhere, ...]:
        places = await self._ctx.locations.places()
        return tuple(Elsewhere(places.describe(place), number) for place, number in left.items())

    async def _has_document(self, owner: ObjectId, persons: Sequence[int]) -> bool:
        """Whether one of the persons has a document, malformed ones included."""
        try:
            query = {"_id": {"$in": list(persons)}, "owner": owner}
            return await self._ctx.database[Persons.name].ungated.find_one(query, {"_id": 1}) is not None
        except DRIVER_ERRORS as error:
            raise translate_error(error, "persons.find_one") from error

    async def _remove_sightings(self, alike: Lookalikes) -> RemovedSightings:
        if self._sightings is None:
            return RemovedSightings(0, 0)
        try:
            return await asyncio.to_thread(self._sightings.remove_matching, alike.matches)
        except OSError as error:
            raise StoreError(
                f"the sightings in {self._sightings.address} cannot be removed: {error}; erase again"
            ) from error

    async def _not_checked(self, alike: Lookalikes, sightings: RemovedSightings) -> tuple[str, ...]:
        others = "" if self._sightings is None else " of other boxes"
        more = [f"sightings in spools and dead letters{others}"]
        if self._sightings is not None and sightings.not_compared:
            more.append(
                f"sightings in {self._sightings.address} and its folder dead that cannot be compared: "
                f"{sightings.not_compared}, damaged or without a comparable facen"
            )
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
            raise translate_error(error, "erased.find_one") from error
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
            raise translate_error(error, "erased.update_one") from error

    async def _remove_person(self, owner: ObjectId, person_id: int) -> None:
        # Not Persons.remove_one, which unassigns faces stored meanwhile: those must be erased too.
        try:
            await self._ctx.database[Persons.name].delete_one({"_id": person_id, "owner": owner})
            involved = {"owner": owner, "$or": [{"person": person_id}, {"other": person_id}]}
            for notes in (CHANGES, PROPOSALS):  # they may hold a name
                await self._ctx.database[notes].delete_many(involved)
        except DRIVER_ERRORS as error:
            raise translate_error(error, "persons.delete_one") from error

    async def _sweep(self, owner: ObjectId, gone: set[int]) -> int:
        """Removes pictures of these faces that no document names."""
        removed = 0
        if gone:
            async for key in self._ctx.uploads.list_keys(str(owner)):
                if face_of_key(key) in gone:
                    removed += await self._ctx.uploads.delete(key)
        return removed

    async def _forget_snapshots(self) -> None:
        """Removes the snapshots of facens, which hold the erased ones; the next start works without."""
        try:
            await asyncio.to_thread(self._ctx.facens_lifecycle.forget)
        except OSError as error:
            raise StoreError(
                f"the snapshots of the facens cannot be removed: {error}; erase again"
            ) from error

    async def _prove(self, owner: ObjectId, persons: Sequence[int], gone: set[int]) -> None:
        left = []
        try:
            theirs = {"owner": owner, "person_id": {"$in": list(persons)}}
            number = int(await self._faces.count_documents(theirs))
        except DRIVER_ERRORS as error:
            raise translate_error(error, "faces.count") from error
        if number:
            left.append(f"{number} faces")
        if await self._has_document(owner, persons):
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
    """Removes the faces of some persons, and similar faces without a person."""

    def __init__(self, ctx: Context, owner: ObjectId, persons: Sequence[int], alike: Lookalikes) -> None:
        self._ctx = ctx
        self._owner = owner
        self._persons = persons
        self._theirs = {"person_id": {"$in": list(persons)}}
        self._alike = alike
        self.removal = FaceRemoval(ctx, owner)
        self.gone: set[int] = set()
        self.unassigned = self.faces = self.pictures = self.shared = 0
        self.foreign_urls: list[str] = []

    async def run(self) -> None:
        """Repeats until a search finds nothing. Faces without a person go first: after a crash in between
        the person's own facens still lead to the rest."""
        for _ in range(ROUNDS):
            before = self.faces + self.unassigned
            self.unassigned += await self._remove([face async for face in self._alike.unassigned()])
            batch: list[Face] = []
            async for face in self.removal.faces(self._theirs):
                batch.append(face)
                if len(batch) >= BATCH:
                    self.faces += await self._remove(batch)
                    batch = []
            self.faces += await self._remove(batch)
            await self._remove_malformed()
            if self.faces + self.unassigned == before:
                return

    async def _remove(self, faces: Sequence[Face]) -> int:
        for start in range(0, len(faces), BATCH):
            batch = faces[start : start + BATCH]
            await self._strip_photos_that_show(batch)
            for face in batch:
                self._note_foreign(face)
                self.pictures += (await self.removal.remove(face))[1]
                self.gone.add(face["_id"])
        return len(faces)

    async def _remove_malformed(self) -> None:
        async for document in malformed_faces(self._ctx, self._owner, self._persons):
            await self._strip_photos_that_show([document])
            self._note_foreign(document)
            self.pictures += await self.removal.remove_malformed(document)
            if isinstance(document["_id"], int):
                self.gone.add(document["_id"])
            self.faces += 1

    def _note_foreign(self, face: Mapping[str, Any]) -> None:
        """Pictures outside the owner's uploads: the document is all that names them."""
        for field, url in urls_of(face).items():
            if isinstance(url, str) and stored_key(self._ctx.uploads, self._owner, url) is None:
                self.foreign_urls.append(str(url))  # BSON's code is text that has no hash
                log.warning("a picture of an erased person stays at another host", field=field, url=url)

    async def _strip_photos_that_show(self, faces: Sequence[Mapping[str, Any]]) -> None:
        """Removes photos of other faces: of the same frame, and of visits recorded together with theirs."""
        conditions: list[dict[str, Any]] = []
        hashes = [face["photo_hash"] for face in faces if isinstance(face.get("photo_hash"), str)]
        if hashes := list(filter(None, hashes)):
            conditions.append({"photo_hash": {"$in": hashes}})
        for face in faces:
            if not isinstance(face.get("cam_id"), str | None):
                continue
            if seen := co_visible_visits(face):
                conditions.append({"cam_id": face.get("cam_id"), "detector_info.visit_id": {"$in": seen}})
            if (visit := visit_of(face)) is not None and (at := _captured_at(face)) is not None:
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


async def malformed_faces(
    ctx: Context, owner: ObjectId, persons: Sequence[int]
) -> AsyncIterator[Mapping[str, Any]]:
    """The persons' face documents that no other reader meets, because their shape is wrong."""
    query = {"owner": owner, "person_id": {"$in": list(persons)}, **malformed("faces")}
    try:
        async for document in ctx.database["faces"].ungated.find(query):
            yield document
    except DRIVER_ERRORS as error:
        raise translate_error(error, "faces.find") from error


def _captured_at(face: Mapping[str, Any]) -> datetime | None:
    """The capture time of a face or of a malformed document of one."""
    at = face.timestamp if isinstance(face, Face) else face.get("timestamp")
    return at if isinstance(at, datetime) else None

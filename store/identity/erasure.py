"""Erases a person, and reports what could not be erased.

Similar faces without a person, by the low threshold of the model pack, are erased as well. Similar other
persons are reported, and erased on request.

What remains: the person's id with the time of the erasure, in the collection `erased`, and data in MongoDB's
oplog and free disk blocks until it is overwritten. By the id, `facend doctor` finds a face that was being
stored during the erasure.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Protocol

import structlog
from bson import ObjectId
from pymongo.errors import DuplicateKeyError

from pipeline.types import Sighting
from store.collections.persons import Persons
from store.collections.users import UserArgument
from store.context import Context
from store.errors import NotFoundError, StoreError
from store.identity.change_log import CHANGES
from store.identity.erasure_faces import FacesErasure, malformed_faces
from store.identity.erasure_report import NOT_CHECKED, Erased, Preview, RemotePictures, RemovedSightings
from store.identity.evidence import PROPOSALS
from store.identity.lookalikes import LookalikeSearch
from store.identity.removal import FaceRemoval, face_of_key, has_faces
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error
from store.mongo.guard import checked_id
from store.outbox.events import NewEvent, Outbox
from store.uploads.face_pictures import pictures_of
from store.visits.visit_documents import VisitDocuments

log = structlog.get_logger()

ERASED = "erased"
"""The collection of the erased persons' ids."""


class SightingsOnDisk(Protocol):
    """Sightings on disk: pending ones, which are not in the database yet, and dead letters."""

    @property
    def address(self) -> str:
        """The folder, for messages."""
        ...

    def remove_matching(self, matches: Callable[[Sighting], bool | None]) -> RemovedSightings:
        """Remove the sightings for which `matches` returns True; it returns None if it cannot compare one.

        Raises:
            OSError: they cannot be read or removed.
        """
        ...


class Erasure:
    """Erases persons of one user. Can be repeated after a crash at any moment."""

    def __init__(
        self,
        ctx: Context,
        user: UserArgument,
        low: float | None = None,
        sightings: SightingsOnDisk | None = None,
    ) -> None:
        """
        Args:
            low: minimum confidence at which a face without a person counts as the person's. Default: the low
                threshold of the model pack of their facens.
            sightings: the user's sightings on this box's disk, which are erased as well.
        """
        self._ctx = ctx
        self._user = user
        self._low = low
        self._sightings = sightings

    async def preview(self, person_id: int) -> Preview:
        """What `erase` would remove, and similar persons. Raises as `erase`."""
        owner = await self._ctx.users.owner(self._user)
        name = await self._name(owner, person_id)
        alike = LookalikeSearch(self._ctx, owner, self._low)
        await alike.learn([person_id])
        faces = pictures = 0
        async for face in FaceRemoval(self._ctx, owner).faces({"person_id": person_id}):
            faces, pictures = faces + 1, pictures + len(pictures_of(self._ctx.uploads, face))
        async for document in malformed_faces(self._ctx, owner, [person_id]):
            faces, pictures = faces + 1, pictures + len(pictures_of(self._ctx.uploads, document))
        unassigned = 0
        async for _ in alike.unassigned():
            unassigned += 1
        lookalikes = tuple(await alike.lookalikes([person_id]))
        return Preview(person_id, name, faces, pictures, unassigned, lookalikes)

    async def erase(
        self, person_id: int, lookalikes: Collection[int] = (), *, with_lookalikes: bool = False
    ) -> Erased:
        """Remove the person and all their data, and verify that nothing is left.

        Args:
            lookalikes: ids of other persons who are the same human being; erased as well.
            with_lookalikes: erase all similar persons as well.

        Raises:
            NotFoundError: the user has neither the person nor a face of them.
            StoreError: data is left, or a part of the store cannot be reached; erase again.
        """
        owner = await self._ctx.users.owner(self._user)
        name = await self._name(owner, person_id)
        for lookalike in lookalikes:
            await self._name(owner, lookalike)
        persons = list(dict.fromkeys([person_id, *lookalikes]))
        alike = LookalikeSearch(self._ctx, owner, self._low)
        await alike.learn(persons)
        left = await alike.lookalikes(persons)
        if with_lookalikes and left:
            persons += [lookalike.person_id for lookalike in left]
            await alike.learn(persons)
            left = await alike.lookalikes(persons)
        await self._record_ids(owner, persons)
        sightings = await self._remove_sightings(alike)
        faces = FacesErasure(self._ctx, owner, persons, alike)
        await faces.run()
        for person in persons:
            await self._remove_person(owner, person)
        await self._refresh_visits(owner, persons)
        pictures = faces.pictures + await self._remove_remaining_pictures(owner, faces.removed_ids)
        await self._remove_snapshots()
        await self._replace_events(owner, persons)
        await self._verify(owner, persons, faces.removed_ids)
        erased = Erased(
            person_id,
            faces.faces,
            pictures,
            faces.shared_photos,
            name,
            faces.unassigned,
            sightings.removed,
            tuple(persons[1:]),
            tuple(left),
            await self._elsewhere(faces.removal.left_to_others),
            tuple(dict.fromkeys(faces.foreign_urls)),
            await self._not_checked(alike, sightings),
        )
        log.info(
            "person erased",
            faces=faces.faces + faces.unassigned,
            pictures=pictures,
            sightings=sightings.removed,
            shared_photos=faces.shared_photos,
            persons=len(persons),
        )
        return erased

    async def _name(self, owner: ObjectId, person_id: int) -> str | None:
        """The person's name, or None. NotFoundError if no data of the person exists."""
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

    async def _elsewhere(self, left: Counter[str | None]) -> tuple[RemotePictures, ...]:
        locations = await self._ctx.locations.known()
        return tuple(
            RemotePictures(locations.describe(location), number) for location, number in left.items()
        )

    async def _has_document(self, owner: ObjectId, persons: Sequence[int]) -> bool:
        """Whether one of the persons has a document, malformed ones included."""
        try:
            query = {"_id": {"$in": list(persons)}, "owner": owner}
            return await self._ctx.database[Persons.name].ungated.find_one(query, {"_id": 1}) is not None
        except DRIVER_ERRORS as error:
            raise translate_error(error, "persons.find_one") from error

    async def _remove_sightings(self, alike: LookalikeSearch) -> RemovedSightings:
        if self._sightings is None:
            return RemovedSightings(0, 0)
        try:
            return await asyncio.to_thread(self._sightings.remove_matching, alike.matches)
        except OSError as error:
            raise StoreError(
                f"the sightings in {self._sightings.address} cannot be removed: {error}; erase again"
            ) from error

    async def _not_checked(self, alike: LookalikeSearch, sightings: RemovedSightings) -> tuple[str, ...]:
        others = "" if self._sightings is None else " of other boxes"
        unchecked = [f"sightings in spools and dead letters{others}"]
        if self._sightings is not None and sightings.not_compared:
            unchecked.append(
                f"sightings in {self._sightings.address} and its folder dead that cannot be compared: "
                f"{sightings.not_compared}, damaged or without a comparable facen"
            )
        if not alike.is_comparable:
            unchecked.append(
                "faces without a person, and other persons: no facen is left to compare with, or its model "
                "pack is unknown"
            )
        locations = await self._ctx.locations.known()
        if any(use.location not in locations.mine for use in locations.uses):
            unchecked.append("snapshots of facens on other boxes, until they are rewritten")
        return (*NOT_CHECKED, *unchecked)

    async def _was_erased(self, owner: ObjectId, person_id: int) -> bool:
        try:
            found = await self._ctx.database[ERASED].find_one({"_id": person_id, "owner": owner})
        except DRIVER_ERRORS as error:
            raise translate_error(error, "erased.find_one") from error
        return found is not None

    async def _record_ids(self, owner: ObjectId, persons: Sequence[int]) -> None:
        record = {"$set": {"at": datetime.now(UTC)}}
        try:
            for person in persons:
                this = {"_id": person, "owner": owner}
                try:
                    await self._ctx.database[ERASED].update_one(this, record, upsert=True)
                except DuplicateKeyError:
                    log.warning(
                        "an erased person's id was recorded for another user before", person_id=person
                    )
        except DRIVER_ERRORS as error:
            raise translate_error(error, "erased.update_one") from error

    async def _remove_person(self, owner: ObjectId, person_id: int) -> None:
        # Not Persons.remove_one, which unassigns faces stored meanwhile: those must be erased too.
        try:
            await self._ctx.database[Persons.name].delete_one({"_id": person_id, "owner": owner})
            involved = {"owner": owner, "$or": [{"person": person_id}, {"other": person_id}]}
            for name in (CHANGES, PROPOSALS):  # they may contain the name
                await self._ctx.database[name].delete_many(involved)
        except DRIVER_ERRORS as error:
            raise translate_error(error, "persons.delete_one") from error

    async def _refresh_visits(self, owner: ObjectId, persons: Sequence[int]) -> None:
        """Compute visits that still name the persons: those whose faces were malformed."""
        visits = VisitDocuments(self._ctx.database)
        await visits.mark_person(owner, *persons)
        await visits.refresh_outdated(owner)

    async def _replace_events(self, owner: ObjectId, persons: Sequence[int]) -> None:
        """Remove the persons' events, and write events of the erasure, which have only the ids."""
        outbox = Outbox(self._ctx.database, owner, self._ctx.box)
        await outbox.forget(persons)
        now = datetime.now(UTC)
        await outbox.add(
            [NewEvent("person.erased", f"{one} {now.isoformat()}", now, person_id=one) for one in persons]
        )

    async def _remove_remaining_pictures(self, owner: ObjectId, face_ids: set[int]) -> int:
        """Remove pictures of these faces that no document names."""
        removed = 0
        if face_ids:
            async for key in self._ctx.uploads.list_keys(str(owner)):
                if face_of_key(key) in face_ids:
                    removed += await self._ctx.uploads.delete(key)
        return removed

    async def _remove_snapshots(self) -> None:
        """Remove the facen snapshots, which contain the erased facens; the next start does not need them."""
        try:
            await asyncio.to_thread(self._ctx.facens_lifecycle.remove_snapshots)
        except OSError as error:
            raise StoreError(
                f"the snapshots of the facens cannot be removed: {error}; erase again"
            ) from error

    async def _verify(self, owner: ObjectId, persons: Sequence[int], face_ids: set[int]) -> None:
        left = []
        for name, field in (("faces", "person_id"), ("visits", "persons")):
            if number := await self._count(name, {"owner": owner, field: {"$in": list(persons)}}):
                left.append(f"{number} {name}")
        if await self._has_document(owner, persons):
            left.append("the person's document")
        for _, gallery in await self._ctx.facens.galleries(owner):
            if number := len(face_ids.intersection(await self._ctx.facens.ids(owner, gallery))):
                left.append(f"{number} facens in the gallery {gallery}")
        number = 0
        if face_ids:
            async for key in self._ctx.uploads.list_keys(str(owner)):
                number += face_of_key(key) in face_ids
        if number:
            left.append(f"{number} pictures")
        if left:
            raise StoreError(f"{', '.join(left)} of person {persons[0]} are left; erase again")

    async def _count(self, collection: str, query: dict[str, object]) -> int:
        try:
            return int(await self._ctx.database[collection].ungated.count_documents(query))
        except DRIVER_ERRORS as error:
            raise translate_error(error, f"{collection}.count") from error

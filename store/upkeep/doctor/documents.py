"""Checks references between documents: users, galleries, persons and faces."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from bson import ObjectId

from store.collections.galleries import DEFAULT_GALLERY
from store.context import Context
from store.identity.erasure import ERASED, Erasure
from store.upkeep.doctor.findings import Finding, FindingKind, Scope
from store.upkeep.orphans import Orphans
from store.uploads.face_pictures import pictures_of
from store.visits.visit_document import key_of
from store.visits.visit_documents import VisitDocuments

BATCH = 500
OWNED = ("faces", "persons", "galleries", "cameras")
Document = dict[str, Any]


class DocumentsCheck:
    """Reads the documents in pages; each suspect is checked again before it is reported."""

    def __init__(self, ctx: Context, scope: Scope) -> None:
        self._ctx = ctx
        self._scope = scope
        self._database = ctx.database

    async def run(self) -> AsyncIterator[Finding]:
        async for finding in self._deleted_users():
            yield finding
        for owner in sorted(self._scope.checked):
            async for finding in self._faces(owner):
                yield finding
            async for finding in self._persons(owner):
                yield finding

    async def _deleted_users(self) -> AsyncIterator[Finding]:
        locations = await self._ctx.locations.known()
        owners = {use.owner for use in locations.uses}
        for name in OWNED:
            owners.update(await self._database[name].distinct("owner"))
        folders = await self._ctx.uploads.list_folders() if locations.here else ()
        unknown = {ObjectId(folder) for folder in folders if ObjectId.is_valid(folder)} - owners
        gone = {}
        for owner in sorted((owners | unknown) - self._scope.users, key=str):
            if await self._database["users"].ungated.find_one({"_id": owner}) is None:
                gone[owner] = await self._numbers(owner, with_pictures=locations.here is not None)
        refusal = "" if self._scope.force else await self._refusal(gone)
        for owner, numbers in gone.items():
            if not any(numbers.values()):
                continue
            subject = f"user {owner}"
            detail = ", ".join(f"{number} {name}" for name, number in numbers.items() if number)
            reason = refusal
            if owner in unknown and not self._scope.force:
                reason = reason or "no document of this database names the user: is it the right database?"
            if reason or not self._scope.repair:
                yield Finding(FindingKind.DELETED_USER, subject, f"{detail}; {reason}" if reason else detail)
            else:
                await self._remove_user(owner)
                yield Finding(FindingKind.DELETED_USER, subject, detail, "removed all data")

    async def _numbers(self, owner: ObjectId, *, with_pictures: bool) -> dict[str, int]:
        numbers = {name: await self._database[name].count_documents({"owner": owner}) for name in OWNED}
        numbers["pictures"] = 0
        if with_pictures:
            async for _ in self._ctx.uploads.list_keys(str(owner)):
                numbers["pictures"] += 1
        return numbers

    async def _refusal(self, gone: Mapping[ObjectId, Mapping[str, int]]) -> str:
        return await Orphans(self._ctx).too_many(sum(numbers["pictures"] for numbers in gone.values()))

    async def _remove_user(self, owner: ObjectId) -> None:
        here = await self._ctx.uploads.location()
        for _, gallery in await self._ctx.facens.galleries(owner):
            await self._ctx.facens.drop(owner, gallery)
        async for face in self._database["faces"].ungated.find({"owner": owner}):
            pictures = pictures_of(self._ctx.uploads, face)
            elsewhere = [one for one in pictures if one.location is None or one.location != here]
            await self._ctx.locations.remove_later(face, elsewhere)
        for name in OWNED:
            await self._database[name].delete_many({"owner": owner})
        await self._ctx.locations.forget(owner)
        if here is not None:
            async for key in self._ctx.uploads.list_keys(str(owner)):
                await self._ctx.uploads.delete(key)

    async def _faces(self, owner: ObjectId) -> AsyncIterator[Finding]:
        galleries = {one["name"] async for one in self._database["galleries"].find({"owner": owner})}
        last = -1
        while batch := await self._page("faces", owner, last):
            last = batch[-1]["_id"]
            old = [face for face in batch if not self._scope.is_young(face["_id"])]
            for face in old:
                for name in face.get("gallery") or ():
                    if name not in galleries and (found := await self._no_gallery(owner, face["_id"], name)):
                        yield found
            persons = {face["person_id"] for face in old if face.get("person_id") is not None}
            query = {"_id": {"$in": list(persons)}, "owner": owner}
            known = {one["_id"] async for one in self._database["persons"].find(query, {"_id": 1})}
            for face in old:
                person = face.get("person_id")
                if person in persons - known and (found := await self._no_person(owner, face["_id"], person)):
                    yield found

    async def _no_gallery(self, owner: ObjectId, face_id: int, name: str) -> Finding | None:
        this = {"_id": face_id, "owner": owner, "gallery": name}
        if await self._database["faces"].find_one(this, {"_id": 1}) is None:
            return None
        if await self._database["galleries"].find_one({"owner": owner, "name": name}) is not None:
            return None
        subject, detail = f"face {face_id}", f"gallery {name} of user {owner}"
        if not self._scope.repair:
            return Finding(FindingKind.NO_GALLERY, subject, detail)
        if name == DEFAULT_GALLERY:  # every user has this gallery
            await self._ctx.galleries.ensure(owner, name)
            return Finding(FindingKind.NO_GALLERY, subject, detail, "created the gallery")
        # Completes an interrupted Galleries.remove_one.
        async with self._ctx.faces.locks.get(face_id):
            await self._ctx.facens.remove(owner, name, face_id)
            await self._database["faces"].update_one(this, {"$pull": {"gallery": name}})
        return Finding(FindingKind.NO_GALLERY, subject, detail, "removed the face from it")

    async def _no_person(self, owner: ObjectId, face_id: int, person: object) -> Finding | None:
        this = {"_id": face_id, "owner": owner, "person_id": person}
        face = await self._database["faces"].find_one(this)
        # A malformed person still exists.
        if face is None or await self._database["persons"].ungated.find_one({"_id": person, "owner": owner}):
            return None
        subject, detail = f"face {face_id}", f"person {person}"
        erased = await self._database[ERASED].find_one({"_id": person, "owner": owner}) is not None
        kind = FindingKind.ERASED_PERSON if erased else FindingKind.NO_PERSON
        if not self._scope.repair:
            return Finding(kind, subject, detail)
        if erased and isinstance(person, int) and await self._is_active(owner):
            await Erasure(self._ctx, owner).erase(person)
            return Finding(kind, subject, detail, "erased it and all other faces of the person")
        # Completes an interrupted Persons.remove_one.
        async with VisitDocuments(self._database).changing([key_of(face)]):
            await self._database["faces"].update_one(this, {"$unset": {"person_id": ""}})
        return Finding(kind, subject, detail, "removed the person from the face")

    async def _is_active(self, owner: ObjectId) -> bool:
        return await self._database["users"].find_one({"_id": owner, "active": True}) is not None

    async def _persons(self, owner: ObjectId) -> AsyncIterator[Finding]:
        last = -1
        while batch := await self._page("persons", owner, last):
            last = batch[-1]["_id"]
            old = [person["_id"] for person in batch if self._is_old(person.get("created"))]
            seen = {"owner": owner, "person_id": {"$in": old}}
            with_faces = set(await self._database["faces"].distinct("person_id", seen))
            for person in old:
                if person not in with_faces and (found := await self._no_faces(owner, person)):
                    yield found

    def _is_old(self, created: object) -> bool:
        return not isinstance(created, datetime) or created < self._scope.cutoff

    async def _no_faces(self, owner: ObjectId, person: int) -> Finding | None:
        if await self._database["faces"].ungated.find_one({"owner": owner, "person_id": person}, {"_id": 1}):
            return None
        subject = f"person {person}"
        if not self._scope.repair:
            present = await self._database["persons"].find_one({"_id": person, "owner": owner}, {"_id": 1})
            return Finding(FindingKind.NO_FACES, subject) if present else None
        removed = await self._database["persons"].find_one_and_delete({"_id": person, "owner": owner})
        return Finding(FindingKind.NO_FACES, subject, "", "removed the person") if removed else None

    async def _page(self, name: str, owner: ObjectId, last: int) -> Sequence[Document]:
        query = {"owner": owner, "_id": {"$gt": last}}
        fields = {"gallery": 1, "person_id": 1, "created": 1}
        found: list[Document] = (
            await self._database[name].find(query, fields).sort("_id", 1).limit(BATCH).to_list(BATCH)
        )
        return found

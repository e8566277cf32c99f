"""Whether the documents agree with each other: users, galleries, persons and faces."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

from bson import ObjectId

from store.context import Context
from store.erasure import ERASED, Erasure
from store.findings import Finding, Kind, Scope
from store.galleries import DEFAULT_GALLERY

BATCH = 500
OWNED = ("faces", "persons", "galleries", "cameras")
Document = dict[str, Any]


class DocumentsCheck:
    """Streams through the documents; each suspect is looked at once more before it is found guilty."""

    def __init__(self, ctx: Context, scope: Scope) -> None:
        self._ctx = ctx
        self._scope = scope
        self._database = ctx.database

    async def run(self) -> AsyncIterator[Finding]:
        async for finding in self._deleted_users():
            yield finding
        for owner in sorted(self._scope.users):
            async for finding in self._faces(owner):
                yield finding
            async for finding in self._persons(owner):
                yield finding

    async def _deleted_users(self) -> AsyncIterator[Finding]:
        owners: set[ObjectId] = set()
        for name in OWNED:
            owners.update(await self._database[name].distinct("owner"))
        for folder in await self._ctx.uploads.list_folders():
            if ObjectId.is_valid(folder):
                owners.add(ObjectId(folder))
        for owner in sorted(owners - self._scope.users, key=str):
            if await self._database["users"].ungated.find_one({"_id": owner}) is None:
                yield await self._deleted_user(owner)

    async def _deleted_user(self, owner: ObjectId) -> Finding:
        numbers = {name: await self._database[name].count_documents({"owner": owner}) for name in OWNED}
        keys = [key async for key in self._ctx.uploads.list_keys(str(owner))]
        numbers["pictures"] = len(keys)
        detail = ", ".join(f"{number} {name}" for name, number in numbers.items() if number)
        if not self._scope.repair:
            return Finding(Kind.DELETED_USER, f"user {owner}", detail)
        for _, gallery in await self._ctx.facens.galleries(owner):
            await self._ctx.facens.drop(owner, gallery)
        for name in OWNED:
            await self._database[name].delete_many({"owner": owner})
        for key in keys:
            await self._ctx.uploads.delete(key)
        return Finding(Kind.DELETED_USER, f"user {owner}", detail, "removed all of it")

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
            return Finding(Kind.NO_GALLERY, subject, detail)
        if name == DEFAULT_GALLERY:  # every user has it
            await self._ctx.galleries.ensure(owner, name)
            return Finding(Kind.NO_GALLERY, subject, detail, "made the gallery")
        # Its removal was cut off half-way; completed, as in Galleries.remove_one.
        async with self._ctx.faces.locks.of(face_id):
            await self._ctx.facens.remove(owner, name, face_id)
            await self._database["faces"].update_one(this, {"$pull": {"gallery": name}})
        return Finding(Kind.NO_GALLERY, subject, detail, "took the face out of it")

    async def _no_person(self, owner: ObjectId, face_id: int, person: object) -> Finding | None:
        this = {"_id": face_id, "owner": owner, "person_id": person}
        face = await self._database["faces"].find_one(this)
        # A malformed person is one all the same.
        if face is None or await self._database["persons"].ungated.find_one({"_id": person, "owner": owner}):
            return None
        subject, detail = f"face {face_id}", f"person {person}"
        erased = await self._database[ERASED].find_one({"_id": person, "owner": owner}) is not None
        kind = Kind.ERASED_PERSON if erased else Kind.NO_PERSON
        if not self._scope.repair:
            return Finding(kind, subject, detail)
        if erased and isinstance(person, int) and await self._is_active(owner):
            await Erasure(self._ctx, owner).erase(person)
            return Finding(kind, subject, detail, "erased it, with every other face of that person")
        # The removal of the person was cut off half-way; completed, as in Persons.remove_one.
        await self._database["faces"].update_one(this, {"$unset": {"person_id": ""}})
        return Finding(kind, subject, detail, "made it nobody's")

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
            return Finding(Kind.NO_FACES, subject) if present else None
        removed = await self._database["persons"].find_one_and_delete({"_id": person, "owner": owner})
        return Finding(Kind.NO_FACES, subject, "", "removed the person") if removed else None

    async def _page(self, name: str, owner: ObjectId, last: int) -> Sequence[Document]:
        query = {"owner": owner, "_id": {"$gt": last}}
        fields = {"gallery": 1, "person_id": 1, "created": 1}
        found: list[Document] = (
            await self._database[name].find(query, fields).sort("_id", 1).limit(BATCH).to_list(BATCH)
        )
        return found

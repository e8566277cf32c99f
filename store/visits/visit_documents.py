"""Keeps the documents of visits as their faces are.

A visit's document is never changed by itself, but computed again from all its faces. Before faces are
changed, their visits are marked as outdated; after a crash the mark stays, and the next change, the nightly
job or the next start computes them. A computation counts the revision of the document up before it reads the
faces, and writes only if no other one has begun since: of several at once, the latest writes.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from bson import ObjectId
from pymongo import DeleteOne, InsertOne, UpdateOne
from pymongo.errors import BulkWriteError

from store.mongo.client import Collection as MongoCollection
from store.mongo.client import Database
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error
from store.mongo.shapes import malformed
from store.visits.visit_document import FACE_FIELDS, VisitKey, face_of_visit, key_of, visit_fields

COLLECTION = "visits"
BATCH = 500
PASSES = 3
"""A new document is computed once more, because faces may have been removed before it was inserted."""
DUPLICATE_KEY = 11000
NEXT_REVISION = {"$add": [{"$cond": [{"$isNumber": "$revision"}, "$revision", 0]}, 1]}
_PROJECTION = dict.fromkeys(FACE_FIELDS - {"detector_info"}, 1) | {
    f"detector_info.{name}": 1 for name in ("visit_id", "beside", "visit_started_at", "visit_ended_at")
}


class VisitDocuments:
    """The visits of all owners."""

    def __init__(self, database: Database) -> None:
        self._visits: MongoCollection = database[COLLECTION]
        self._faces: MongoCollection = database["faces"]
        self._persons: MongoCollection = database["persons"]

    @asynccontextmanager
    async def changing(self, keys: Collection[VisitKey | None]) -> AsyncIterator[set[VisitKey]]:
        """Surrounds a change of faces of these visits; the block may add visits that the change reaches."""
        affected = {key for key in keys if key is not None}
        await self.mark(affected)
        yield affected
        await self.refresh(affected)

    async def mark(self, keys: Iterable[VisitKey]) -> None:
        """Mark the documents of these visits as outdated, before their faces change."""
        await self._mark({"_id": {"$in": [key.document_id for key in keys]}})

    async def mark_person(self, owner: ObjectId, *persons: int) -> None:
        """As `mark`, for all visits of these persons."""
        await self._mark({"owner": owner, "persons": {"$in": list(persons)}})

    async def _mark(self, query: Mapping[str, Any]) -> None:
        try:
            await self._visits.update_many(query, [{"$set": {"revision": NEXT_REVISION, "outdated": True}}])
        except DRIVER_ERRORS as error:
            raise translate_error(error, "visits.mark") from error

    async def refresh_outdated(self, owner: ObjectId | None = None) -> int:
        """Compute the visits that are marked as outdated; returns their number."""
        query: dict[str, Any] = {"outdated": True} | ({} if owner is None else {"owner": owner})
        names = {"owner": 1, "cam_id": 1, "id": 1}
        try:
            found = [one async for one in self._visits.find(query, names)]
        except DRIVER_ERRORS as error:
            raise translate_error(error, "visits.find") from error
        return await self.refresh(map(_key, found))

    async def refresh(self, keys: Iterable[VisitKey]) -> int:
        """Compute these visits from their faces; returns their number.

        Raises:
            StoreError: MongoDB does not answer.
        """
        by_owner: dict[ObjectId, list[VisitKey]] = defaultdict(list)
        for key in set(keys):
            by_owner[key.owner].append(key)
        try:
            for owner, all_keys in by_owner.items():
                for start in range(0, len(all_keys), BATCH):
                    await self._refresh_batch(owner, all_keys[start : start + BATCH])
        except DRIVER_ERRORS as error:
            raise translate_error(error, "visits.refresh") from error
        return sum(map(len, by_owner.values()))

    async def _refresh_batch(self, owner: ObjectId, keys: Sequence[VisitKey]) -> None:
        for _ in range(PASSES):
            if not keys:
                return
            keys = await self._compute(owner, keys)

    async def _compute(self, owner: ObjectId, keys: Sequence[VisitKey]) -> list[VisitKey]:
        """Compute the visits; returns those whose document is new."""
        theirs = {"_id": {"$in": [key.document_id for key in keys]}}
        await self._visits.ungated.delete_many({**theirs, **malformed(COLLECTION)})
        await self._mark(theirs)
        revisions = {one["_id"]: one["revision"] async for one in self._visits.find(theirs, {"revision": 1})}
        faces = await self._faces_of(owner, keys)
        named = await self._named(owner, faces)
        writes: list[UpdateOne | DeleteOne | InsertOne[dict[str, Any]]] = []
        new: list[VisitKey] = []
        for key in keys:
            revision = revisions.get(key.document_id)
            this = {"_id": key.document_id, "revision": revision}
            if not faces.get(key):
                writes += [] if revision is None else [DeleteOne(this)]
                continue
            fields = visit_fields(key, faces[key], named)
            if revision is None:
                first = {"_id": key.document_id, "revision": 1, "outdated": True, "reviewed": False}
                writes.append(InsertOne({**first, **fields}))
                new.append(key)
            else:
                writes.append(UpdateOne(this, {"$set": fields, "$unset": {"outdated": ""}}))
        if writes:
            await self._write(writes)
        return new

    async def _write(self, writes: Sequence[Any]) -> None:
        try:
            await self._visits.bulk_write(list(writes), ordered=False)
        except BulkWriteError as error:
            refused = error.details.get("writeErrors") or []
            # Another process inserted the same visit; the next pass computes it.
            if not refused or any(one.get("code") != DUPLICATE_KEY for one in refused):
                raise

    async def _faces_of(
        self, owner: ObjectId, keys: Sequence[VisitKey]
    ) -> dict[VisitKey, list[dict[str, Any]]]:
        visits = [key.visit_id for key in keys]
        single = [face for visit in visits if (face := face_of_visit(visit)) is not None]
        queries: list[dict[str, Any]] = [{"owner": owner, "detector_info.visit_id": {"$in": visits}}]
        if single:
            queries.append({"_id": {"$in": single}, "owner": owner})
        wanted = set(keys)
        found: dict[VisitKey, dict[int, dict[str, Any]]] = defaultdict(dict)
        for query in queries:
            async for face in self._faces.find(query, _PROJECTION):
                key = key_of(face)
                if key in wanted and key is not None:
                    found[key][face["_id"]] = face
        return {key: list(faces.values()) for key, faces in found.items()}

    async def _named(
        self, owner: ObjectId, faces: Mapping[VisitKey, Sequence[Mapping[str, Any]]]
    ) -> frozenset[int]:
        """Those persons of the faces who have a name."""
        persons = {face["person_id"] for those in faces.values() for face in those if face.get("person_id")}
        if not persons:
            return frozenset()
        query = {"_id": {"$in": list(persons)}, "owner": owner, "name": {"$type": "string", "$ne": ""}}
        return frozenset([one["_id"] async for one in self._persons.find(query, {"_id": 1})])

    async def keys_of_faces(self, query: Mapping[str, Any]) -> set[VisitKey]:
        """The visits of the faces that match; `query` contains the owner."""
        names = {"owner": 1, "cam_id": 1, "timestamp": 1, "detector_info.visit_id": 1}
        try:
            keys = {key_of(face) async for face in self._faces.find(query, names)}
        except DRIVER_ERRORS as error:
            raise translate_error(error, "visits.keys") from error
        return {key for key in keys if key is not None}

    async def rename(self, owner: ObjectId, person_id: int) -> None:
        """Follow a changed name of a person."""
        query = {"_id": person_id, "owner": owner, "name": {"$type": "string", "$ne": ""}}
        theirs = {"owner": owner, "person_id": person_id}
        try:
            named = await self._persons.find_one(query, {"_id": 1}) is not None
            await self._visits.update_many(theirs, {"$set": {"named": named}})
            # Recompute visits whose computation may have read the former name.
            await self.refresh([_key(one) async for one in self._visits.find({**theirs, "outdated": True})])
        except DRIVER_ERRORS as error:
            raise translate_error(error, "visits.rename") from error


def _key(visit: Mapping[str, Any]) -> VisitKey:
    return VisitKey(visit["owner"], visit["cam_id"], visit["id"])

"""Person galleries that follow the setting `persons.scope`.

Faces of persons are in one gallery for all cameras, or in one for each camera, with their references beside
them. If the database was written with the other scope, or by a version with another default, the faces are
added to the galleries of the current scope. No face is removed from a gallery, and no persons are merged: the
nightly comparison merges persons, which an operator can undo.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from bson import ObjectId

from store.mongo.client import Database
from store.mongo.documents import SCHEMA
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error
from store.mongo.ids import first_id_of
from store.settings import CAMERA_GALLERY, CAMERA_REFERENCES, PERSON_GALLERY, REFERENCES, PersonScope

log = structlog.get_logger()

COLLECTION = "person_scope"
ID = "scope"
OVERLAP = timedelta(days=1)
"""Each start also checks the faces of this period before the last start: they may have been stored later, by
another box, or with a wrong clock."""
WITH_PERSON: Mapping[str, Any] = {
    "person_id": {"$type": ["int", "long"]},
    "gallery": {"$type": "array"},  # a malformed list would end the whole update
}
CAMERA_ID = r"^[A-Za-z0-9_-]{1,44}$"
"""Ids of cameras that can be part of a gallery's name."""


async def follow_scope(database: Database, scope: PersonScope) -> int:
    """Add the faces of persons to the person galleries of this scope; returns the number of faces changed.

    Idempotent, and recorded only at its end, so that a start after a kill repeats it. Later starts check only
    newer faces, which another box may have stored with another scope.
    """
    at = datetime.now(UTC)
    try:
        last = await database[COLLECTION].find_one({"_id": ID})
        since = last["upto"] if last is not None and last["scope"] == scope else 0
        changed = 0
        add_to = _to_global if scope == "global" else _to_cameras
        for gallery, prefix in ((PERSON_GALLERY, CAMERA_GALLERY), (REFERENCES, CAMERA_REFERENCES)):
            changed += await add_to(database, since, gallery, prefix)
        upto = first_id_of(int((at - OVERLAP).timestamp() * 1000))
        update = {"$set": {"scope": scope, "upto": upto}}
        await database[COLLECTION].update_one({"_id": ID}, update, upsert=True)
    except DRIVER_ERRORS as error:
        raise translate_error(error, "person_scope") from error
    if changed:
        log.info("person galleries follow persons.scope", scope=scope, entries=changed)
    return changed


async def _to_global(database: Database, since: int, gallery: str, prefix: str) -> int:
    query = {
        "$and": [
            {"_id": {"$gte": since}, **WITH_PERSON},
            {"gallery": {"$regex": f"^{prefix}"}},
            {"gallery": {"$ne": gallery}},
        ]
    }
    owners = await database["faces"].distinct("owner", query)
    await _ensure_galleries(database, [(owner, gallery) for owner in owners])
    return await _update(database, query, {"$addToSet": {"gallery": gallery}})


async def _to_cameras(database: Database, since: int, gallery: str, prefix: str) -> int:
    query = {
        "$and": [
            {"_id": {"$gte": since}, "cam_id": {"$regex": CAMERA_ID}, **WITH_PERSON},
            {"gallery": gallery},
        ]
    }
    name = {"$concat": [prefix, "$cam_id"]}
    cameras = {"_id": {"owner": "$owner", "name": name}}
    found = database["faces"].aggregate([{"$match": query}, {"$group": cameras}])
    await _ensure_galleries(database, [(one["_id"]["owner"], one["_id"]["name"]) async for one in found])
    missing = {"$setDifference": [[name], "$gallery"]}
    return await _update(database, query, [{"$set": {"gallery": {"$concatArrays": ["$gallery", missing]}}}])


async def _ensure_galleries(database: Database, names: Sequence[tuple[ObjectId, str]]) -> None:
    """As `Galleries.ensure`, also for users who are not active."""
    for owner, name in names:
        gallery = {"owner": owner, "name": name}
        new = {"$setOnInsert": {"_id": ObjectId(), "schema": SCHEMA}}
        await database["galleries"].update_one(gallery, new, upsert=True)


async def _update(database: Database, query: dict[str, Any], update: object) -> int:
    return int((await database["faces"].update_many(query, update)).modified_count)

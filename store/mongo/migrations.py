"""Migrates documents of older schemas when the context opens.

A document's `schema` is the schema version that it was written with; 0 if it is missing. A step converts a
document from one version to the next. Steps are pure functions, and a document is replaced only if its
version has not changed since it was read: several processes can migrate at once, and a killed run is
continued by the next. Malformed documents (`store.mongo.shapes`) are left as they are.
"""

from collections.abc import Callable, Mapping
from typing import Any

import structlog
from pymongo import ReplaceOne
from pymongo.errors import BulkWriteError

from store.errors import NewerSchemaError
from store.mongo.client import Database, Document
from store.mongo.documents import SCHEMA
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error
from store.mongo.shapes import HIGHEST_VERSION, WHOLE, bson_type, fault

log = structlog.get_logger()

Step = Callable[[Document], Document]
BATCH = 500
_NEWER: dict[str, Any] = {
    "schema": {
        "$gt": SCHEMA,
        "$lte": HIGHEST_VERSION,
        "$type": ["int", "long"],
        "$not": {"$type": "array"},  # a condition matches a list if one of its members matches
    }
}
"""A document with any other value is malformed, and does not block the migration of the rest."""
_OLDER: dict[str, Any] = {"$or": [{"schema": {"$exists": False}}, {"schema": {"$gte": 0, "$lt": SCHEMA}}]}


def face_to_1(face: Document) -> Document:
    """In version 0, a face in no gallery could lack the list, and `galleries` was another name for it."""
    face = dict(face)
    galleries = face.pop("galleries", None)
    if face.get("gallery") in (None, []):
        face["gallery"] = [] if galleries is None else galleries
    return face


def version_only(document: Document) -> Document:
    """Only the version changes."""
    return dict(document)


STEPS: Mapping[str, tuple[Step, ...]] = {
    "users": (version_only,),
    "galleries": (version_only,),
    "cameras": (version_only,),
    "persons": (version_only,),
    "counters": (version_only,),
    "faces": (face_to_1,),
}
"""By collection, the steps from version 0 to 1, from 1 to 2 and so on."""


def migrated(collection: str, document: Document, target: int = SCHEMA) -> Document:
    """The document at the target version."""
    version = int(document.get("schema") or 0)
    for step in STEPS[collection][version:target]:
        version += 1
        document = {**step(document), "schema": version}
    return document


async def refuse_newer(database: Database) -> None:
    """Raises NewerSchemaError if a later version of this code has written a document."""
    for name in STEPS:
        try:
            newer = await database[name].ungated.find_one(_NEWER, {"schema": 1})
        except DRIVER_ERRORS as error:
            raise translate_error(error, f"migrations.{name}") from error
        if newer is not None:
            raise NewerSchemaError(
                f"this Facend is older than the data: a document in {name} has schema {newer['schema']}, and "
                f"this version knows schemas up to {SCHEMA}; install the Facend that wrote it, or a later one"
            )


async def warn_of_older(database: Database) -> None:
    """Log the collections with documents of older schemas, for a context that is opened read-only."""
    for name in STEPS:
        try:
            count = await database[name].ungated.count_documents(_OLDER)
        except DRIVER_ERRORS as error:
            raise translate_error(error, f"migrations.{name}") from error
        if count:
            log.warning(
                "documents of an older schema may be left out; `facend run` migrates them",
                collection=name,
                count=count,
            )


async def migrate(database: Database) -> int:
    """Migrate all documents in batches; returns the number of migrated ones.

    Raises:
        NewerSchemaError: a document is of a later version; nothing was changed.
    """
    await refuse_newer(database)
    total = 0
    for name in STEPS:
        try:
            count = await _migrate(database, name)
        except DRIVER_ERRORS as error:
            raise translate_error(error, f"migrations.{name}") from error
        if count:
            log.info(
                "documents were migrated to the current schema", collection=name, count=count, schema=SCHEMA
            )
        total += count
    return total


async def _migrate(database: Database, name: str) -> int:
    collection = database[name].ungated
    count = 0
    batch: list[ReplaceOne[Document]] = []
    async for document in collection.find(_OLDER):
        if bson_type(document.get("schema", 0)) not in WHOLE:
            continue
        newer = migrated(name, document)
        if fault(name, newer):
            continue
        batch.append(ReplaceOne({"_id": document["_id"], "schema": document.get("schema")}, newer))
        if len(batch) == BATCH:
            count += await _replace(collection, batch)
            batch = []
    return count + (await _replace(collection, batch) if batch else 0)


async def _replace(collection: Any, batch: list[ReplaceOne[Document]]) -> int:  # noqa: ANN401  the driver has no types
    """The number of replaced documents. Refused ones stay as they are, and are tried again at the next
    start."""
    try:
        return int((await collection.bulk_write(batch, ordered=False)).modified_count)
    except BulkWriteError as error:
        refused = error.details.get("writeErrors") or []
        if not refused:
            raise
        log.warning(
            "documents cannot be migrated to the current schema and stay as they are",
            collection=collection.name,
            number=len(refused),
            reason=str(refused[0].get("errmsg"))[:200],
        )
        return int(error.details.get("nModified", 0))

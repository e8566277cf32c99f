"""Older documents, brought up to the present schema when the context opens.

A document's `schema` says by which version of this code it was written; none at all counts
as 0. A step takes a document of one version and gives it as the next version has it. Steps
are pure, and a document is replaced only if it is still of the version that was read: any
number of processes may open at once, and a run that is killed goes on the next time. Malformed
documents (`store.mongo.shapes`) stay as they are.
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
        "$not": {"$type": "array"},  # each condition holds for a list one of whose members it holds for
    }
}
"""Any other value is a malformed document, which does not block the migration of the others."""
_OLDER: dict[str, Any] = {"$or": [{"schema": {"$exists": False}}, {"schema": {"$gte": 0, "$lt": SCHEMA}}]}


def face_to_1(face: Document) -> Document:
    """Before version 1 a face in no gallery could have no list, and `galleries` was another name for it."""
    face = dict(face)
    galleries = face.pop("galleries", None)
    if face.get("gallery") in (None, []):
        face["gallery"] = [] if galleries is None else galleries
    return face


def unchanged(document: Document) -> Document:
    """Nothing but the version is new."""
    return dict(document)


STEPS: Mapping[str, tuple[Step, ...]] = {
    "users": (unchanged,),
    "galleries": (unchanged,),
    "cameras": (unchanged,),
    "persons": (unchanged,),
    "counters": (unchanged,),
    "faces": (face_to_1,),
}
"""For each collection the steps from version 0 to 1, from 1 to 2 and so on."""


def migrated(collection: str, document: Document, target: int = SCHEMA) -> Document:
    """The document at the target version."""
    version = int(document.get("schema") or 0)
    for step in STEPS[collection][version:target]:
        version += 1
        document = {**step(document), "schema": version}
    return document


async def refuse_newer(database: Database) -> None:
    """Raises NewerSchemaError where a later version of this code has written a document."""
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
    """Logs which collections hold older documents, for a reader who may not migrate them."""
    for name in STEPS:
        try:
            count = await database[name].ungated.count_documents(_OLDER)
        except DRIVER_ERRORS as error:
            raise translate_error(error, f"migrations.{name}") from error
        if count:
            log.warning(
                "documents of an older schema may be left out; `facend run` brings them up to date",
                collection=name,
                count=count,
            )


async def migrate(database: Database) -> int:
    """Brings every document up to the present version, in batches; returns how many were older.

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
                "documents were brought up to the present schema", collection=name, count=count, schema=SCHEMA
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
    """How many were replaced. What MongoDB refuses stays as it is, and is tried again at the next start."""
    try:
        return int((await collection.bulk_write(batch, ordered=False)).modified_count)
    except BulkWriteError as error:
        refused = error.details.get("writeErrors") or []
        if not refused:
            raise
        log.warning(
            "documents cannot be brought up to the present schema and stay as they are",
            collection=collection.name,
            number=len(refused),
            reason=str(refused[0].get("errmsg"))[:200],
        )
        return int(error.details.get("nModified", 0))

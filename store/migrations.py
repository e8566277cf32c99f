"""Older documents, brought up to the present schema when the context opens.

A document's `schema` says by which version of this code it was written; none at all counts
as 0. A step takes a document of one version and gives it as the next version has it. Steps
are pure, and a document is replaced only if it is still of the version that was read: any
number of processes may open at once, and a run that is killed goes on the next time.
"""

from collections.abc import Callable, Mapping
from typing import Any

import structlog
from pymongo import ReplaceOne

from store.client import Database, Document
from store.driver_errors import DRIVER_ERRORS, ours
from store.model_store import SCHEMA

log = structlog.get_logger()

Step = Callable[[Document], Document]
BATCH = 500


def face_to_1(face: Document) -> Document:
    """Before version 1 a face in no gallery could have no list, and `galleries` was another name for it."""
    face = dict(face)
    galleries = face.pop("galleries", None)
    face["gallery"] = list(face.get("gallery") or galleries or [])
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


async def migrate(database: Database) -> int:
    """Brings every document up to the present version, in batches; returns how many were older."""
    total = 0
    for name in STEPS:
        try:
            count = await _migrate(database, name)
        except DRIVER_ERRORS as error:
            raise ours(error, f"migrations.{name}") from error
        if count:
            log.info(
                "documents were brought up to the present schema", collection=name, count=count, schema=SCHEMA
            )
        total += count
    return total


async def _migrate(database: Database, name: str) -> int:
    collection = database[name]
    older: dict[str, Any] = {"$or": [{"schema": {"$exists": False}}, {"schema": {"$lt": SCHEMA}}]}
    count = 0
    batch: list[ReplaceOne[Document]] = []
    async for document in collection.find(older):
        here = {"_id": document["_id"], "schema": document.get("schema")}
        batch.append(ReplaceOne(here, migrated(name, document)))
        if len(batch) == BATCH:
            count += (await collection.bulk_write(batch, ordered=False)).modified_count
            batch = []
    if batch:
        count += (await collection.bulk_write(batch, ordered=False)).modified_count
    return count

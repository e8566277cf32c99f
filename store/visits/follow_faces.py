"""Documents of visits for faces without one: of earlier versions, or stored by a process that crashed."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from store.errors import StoreError
from store.mongo.client import Database
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error
from store.mongo.ids import first_id_of
from store.visits.visit_document import VisitKey, key_of
from store.visits.visit_documents import VisitDocuments

log = structlog.get_logger()

COLLECTION = "visit_progress"
ID = "faces"
BATCH = 1000
OVERLAP = timedelta(days=2)
"""Faces that are this much older than the last run are read again: another box may have stored them later, or
with a clock that was wrong."""

RETRY_SECONDS = 60.0


async def follow_faces_at_start(database: Database) -> None:
    """`follow_faces`, repeated until MongoDB answers. A million faces take minutes: do not wait for it."""
    while True:
        try:
            await follow_faces(database)
            return
        except StoreError as error:
            log.warning("the documents of visits cannot be computed yet", reason=str(error))
            await asyncio.sleep(RETRY_SECONDS)


async def follow_faces(database: Database) -> int:
    """Compute the visits of faces that were stored since the last run, and those marked as outdated.

    The first run computes all. Idempotent; a run that is killed continues with the last batch the next time.
    Returns the number of visits that had no document.
    """
    visits = VisitDocuments(database)
    upto = first_id_of(int((datetime.now(UTC) - OVERLAP).timestamp() * 1000))
    try:
        before = await database["visits"].estimated_document_count()
        progress = await database[COLLECTION].find_one({"_id": ID})
        last = -1 if progress is None else int(progress["upto"])
        while keys_and_last := await _next_batch(database, last):
            keys, last = keys_and_last
            await visits.refresh(keys)
            await _record(database, min(last, upto))
        await _record(database, upto)
        await visits.refresh_outdated()
        added = int(await database["visits"].estimated_document_count()) - int(before)
    except DRIVER_ERRORS as error:
        raise translate_error(error, "visits.follow") from error
    if added > 0:
        log.info("visits have documents now", visits=added)
    return max(0, added)


async def _next_batch(database: Database, last: int) -> tuple[set[VisitKey], int] | None:
    query: dict[str, Any] = {"_id": {"$gt": last}, "cam_id": {"$type": "string"}}
    names = {"owner": 1, "cam_id": 1, "timestamp": 1, "detector_info.visit_id": 1}
    found = await database["faces"].find(query, names, sort=[("_id", 1)], limit=BATCH).to_list(BATCH)
    if not found:
        return None
    return {key for face in found if (key := key_of(face)) is not None}, found[-1]["_id"]


async def _record(database: Database, upto: int) -> None:
    await database[COLLECTION].update_one({"_id": ID}, {"$max": {"upto": upto}}, upsert=True)

"""Copies the facens from MongoDB to another storage, resumably, and verifies the result."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from bson import ObjectId

from pipeline.faces.facen import FacenError
from store.errors import BadValueError, StoreError
from store.facens.storage import FacenStorage
from store.facens.sync.change_stream import ChangeStream, FaceLocks, SyncResult
from store.facens.sync.diff import compare_batches
from store.facens.sync.load import FIELDS, facen_for
from store.facens.sync.reconcile import Difference, differences, listed_galleries, reconcile
from store.mongo.client import Collection, Database, Document
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error

MIN_CONFIDENCE = 0.9999
SAMPLES = 20
"""Number of faces per gallery that are searched by their own facens."""
ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """Counts of a successful verification."""

    galleries: int
    entries: int
    sampled: int
    """Faces that were searched and found by their own facens."""
    unusable: int = 0
    """Faces whose facens in MongoDB are unusable; they are in no gallery of the storage."""
    corrected: int = 0
    """Faces that had other facens in the storage than in MongoDB."""


async def migrate_facens(
    database: Database,
    target: FacenStorage,
    on_progress: Callable[[int], object] = lambda _: None,
    locks: FaceLocks | None = None,
) -> MigrationReport:
    """Make the target equal to MongoDB, and verify it.

    Existing entries are compared by value, and correct ones are kept. Can be interrupted and repeated, also
    while other processes store faces and search the target.

    Args:
        on_progress: called with the number of entries compared or added since the previous call.
        locks: the locks of faces, if this process also changes their galleries.

    Raises:
        StoreError: MongoDB or the target does not answer, or they differ at the end.
    """
    change_stream = ChangeStream(database["faces"], target, locks or FaceLocks())
    corrected = 0
    if await target.galleries():
        async for batch in compare_batches(database["faces"], target):
            for face_id in batch.suspects:
                corrected += await change_stream.sync_face(face_id) is SyncResult.OTHER_FACEN
            on_progress(batch.entries)
    previous = float("inf")
    # Each round has less to do, until only concurrent changes are left.
    while (
        0
        < (found := sum(await reconcile(database, target, change_stream, on_progress=on_progress)))
        < previous
    ):
        previous = found
    return replace(await verify_equal(database, target, change_stream), corrected=corrected)


async def verify_equal(
    database: Database, target: FacenStorage, change_stream: ChangeStream | None = None
) -> MigrationReport:
    """Compare all ids, and search a sample of faces of each gallery by their facens.

    Args:
        change_stream: the target's change stream, while other processes store faces. Faces that changed
            during the comparison are corrected and checked again.

    Raises:
        StoreError: MongoDB and the target differ.
    """
    unusable: set[int] = set()
    async for found in differences(database, target):
        for face_id in [*found.missing.tolist(), *found.foreign.tolist()]:
            result = change_stream and await _correct(change_stream, found, face_id)
            if result is SyncResult.UNUSABLE:
                unusable.add(face_id)
            elif result is None:
                raise StoreError(
                    f"the gallery {found.gallery} differs from MongoDB's: {len(found.missing)} facens are "
                    f"missing, {len(found.foreign)} are too many, such as that of the face {face_id}; "
                    "run it again"
                )
    galleries = entries = sampled = 0
    for owner, gallery in await listed_galleries(database, target):
        count = await target.count(owner, gallery)
        galleries, entries = galleries + bool(count), entries + count
        sampled += await _search_sample(database, target, owner, gallery, change_stream)
    return MigrationReport(galleries, entries, sampled, len(unusable))


async def _correct(change_stream: ChangeStream, found: Difference, face_id: int) -> SyncResult | None:
    """Correct a face that differed; None if it still differs after several attempts."""
    for _ in range(ATTEMPTS):  # a concurrent removal changes MongoDB first and the storage later
        result = await change_stream.sync_face(face_id)
        if result is SyncResult.UNUSABLE or await change_stream.is_consistent(
            found.owner, found.gallery, face_id
        ):
            return result
    return None


async def _search_sample(
    database: Database,
    target: FacenStorage,
    owner: ObjectId,
    gallery: str,
    change_stream: ChangeStream | None,
) -> int:
    """Search a sample of faces by their facens; returns the number found."""
    faces = database["faces"]
    sample: list[dict[str, Any]] = [
        {"$match": {"owner": owner, "gallery": gallery}},
        {"$sample": {"size": SAMPLES}},
        {"$project": FIELDS},
    ]
    sampled = 0
    try:
        for face in [face async for face in faces.aggregate(sample)]:
            await asyncio.sleep(0)  # local storages do not yield
            if await _is_found(target, face, gallery):
                sampled += 1
            elif change_stream is None or not await _is_found_or_gone(
                faces, target, face, gallery, change_stream
            ):
                raise StoreError(
                    f"the face {face['_id']} is not found by its own facen in the gallery {gallery}; "
                    "run `facend facens rebuild`"
                )
    except DRIVER_ERRORS as error:
        raise translate_error(error, "faces.sample") from error
    return sampled


async def _is_found_or_gone(
    faces: Collection, target: FacenStorage, face: Document, gallery: str, change_stream: ChangeStream
) -> bool:
    """Correct a face that was not found; returns whether it is found now, or was removed."""
    for _ in range(ATTEMPTS):
        if await change_stream.sync_face(face["_id"]) is SyncResult.UNUSABLE:
            return True
        async with change_stream.lock(face["_id"]):
            this = {"_id": face["_id"], "owner": face["owner"], "gallery": gallery}
            present = await faces.find_one(this, FIELDS)
            if present is None or await _is_found(target, present, gallery):
                return True
    return False


async def _is_found(target: FacenStorage, face: Document, gallery: str) -> bool:
    try:
        facen = facen_for(target, face)
        found = await target.search(face["owner"], gallery, facen, 1, MIN_CONFIDENCE, [face["_id"]])
    except (FacenError, BadValueError):
        return False
    return [hit.id for hit in found.hits] == [face["_id"]]

"""Migrates facens from MongoDB to another storage, resumably, and verifies the result."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from bson import ObjectId

from pipeline.faces.facen import FacenError
from store.errors import BadValueError, StoreError
from store.facens.storage import FacenStorage
from store.facens.sync.change_stream import ChangeStream, FaceLocks, Settled
from store.facens.sync.diff import compared
from store.facens.sync.load import FIELDS, facen_for
from store.facens.sync.reconcile import Difference, differences, listed_galleries, reconcile
from store.mongo.client import Collection, Database, Document
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error

ALIKE = 0.9999
SAMPLES = 20
"""Faces per gallery that are searched by their facens."""
TRIES = 3


@dataclass(frozen=True, slots=True)
class Proof:
    """Counts of a successful verification."""

    galleries: int
    entries: int
    looked_for: int
    """Faces that were found by their own facens."""
    unusable: int = 0
    """Faces whose facens in MongoDB cannot be searched; they are in no gallery of the storage."""
    put_right: int = 0
    """Faces that had other facens in the storage than in MongoDB."""


async def bring_over(
    database: Database,
    target: FacenStorage,
    told: Callable[[int], object] = lambda _: None,
    locks: FaceLocks | None = None,
) -> Proof:
    """Makes the target hold what MongoDB holds, and verifies it.

    Existing entries are compared number by number, and correct ones stay. Can be interrupted and repeated,
    also while others store faces and search the target.

    Args:
        told: called with the number of entries compared or added since the previous call.
        locks: those of the faces, where this process changes them, too.

    Raises:
        StoreError: a side does not answer, or they differ in the end.
    """
    change_stream = ChangeStream(database["faces"], target, locks or FaceLocks())
    put_right = 0
    if await target.galleries():
        async for looked in compared(database["faces"], target):
            for face_id in looked.suspects:
                put_right += await change_stream.settle(face_id) is Settled.OTHER
            told(looked.entries)
    before = float("inf")
    # Each round has less to do, down to what others store meanwhile.
    while 0 < (found := sum(await reconcile(database, target, change_stream, told=told))) < before:
        before = found
    return replace(await prove_equal(database, target, change_stream), put_right=put_right)


async def prove_equal(
    database: Database, target: FacenStorage, change_stream: ChangeStream | None = None
) -> Proof:
    """Every id of every gallery, and for some faces of each that their facens lead to them.

    `change_stream`: of the target, where others go on storing: a face that came or went while both sides were
    read is put right and looked at alone. StoreError where both are not equal.
    """
    unusable: set[int] = set()
    async for found in differences(database, target):
        for face_id in [*found.missing.tolist(), *found.foreign.tolist()]:
            settled = change_stream and await _settled(change_stream, found, face_id)
            if settled is Settled.UNUSABLE:
                unusable.add(face_id)
            elif settled is None:
                raise StoreError(
                    f"the gallery {found.gallery} differs from MongoDB's: {len(found.missing)} facens are "
                    f"missing, {len(found.foreign)} are too many, such as that of the face {face_id}; "
                    "run it again"
                )
    galleries = entries = looked_for = 0
    for owner, gallery in await listed_galleries(database, target):
        count = await target.count(owner, gallery)
        galleries, entries = galleries + bool(count), entries + count
        looked_for += await _sample_found(database, target, owner, gallery, change_stream)
    return Proof(galleries, entries, looked_for, len(unusable))


async def _settled(change_stream: ChangeStream, found: Difference, face_id: int) -> Settled | None:
    """Corrects a face that differed; None where it differs repeatedly."""
    for _ in range(TRIES):  # others remove a face from MongoDB first, and then from the storage
        settled = await change_stream.settle(face_id)
        if settled is Settled.UNUSABLE or await change_stream.agrees(found.owner, found.gallery, face_id):
            return settled
    return None


async def _sample_found(
    database: Database,
    target: FacenStorage,
    owner: ObjectId,
    gallery: str,
    change_stream: ChangeStream | None,
) -> int:
    """Searches a sample of faces by their facens; returns the number found."""
    faces = database["faces"]
    sample: list[dict[str, Any]] = [
        {"$match": {"owner": owner, "gallery": gallery}},
        {"$sample": {"size": SAMPLES}},
        {"$project": FIELDS},
    ]
    looked_for = 0
    try:
        for face in [face async for face in faces.aggregate(sample)]:
            await asyncio.sleep(0)  # local storages do not yield
            if await _is_found(target, face, gallery):
                looked_for += 1
            elif change_stream is None or not await _is_found_or_gone(
                faces, target, face, gallery, change_stream
            ):
                raise StoreError(
                    f"the face {face['_id']} is not found by its own facen in the gallery {gallery}; "
                    "make the facens anew with `facend facens rebuild`"
                )
    except DRIVER_ERRORS as error:
        raise translate_error(error, "faces.sample") from error
    return looked_for


async def _is_found_or_gone(
    faces: Collection, target: FacenStorage, face: Document, gallery: str, change_stream: ChangeStream
) -> bool:
    """Corrects a face that was not found; whether it is found, or gone, now."""
    for _ in range(TRIES):
        if await change_stream.settle(face["_id"]) is Settled.UNUSABLE:
            return True
        async with change_stream.lock(face["_id"]):
            this = {"_id": face["_id"], "owner": face["owner"], "gallery": gallery}
            now = await faces.find_one(this, FIELDS)
            if now is None or await _is_found(target, now, gallery):
                return True
    return False


async def _is_found(target: FacenStorage, face: Document, gallery: str) -> bool:
    try:
        facen = facen_for(target, face)
        found = await target.search(face["owner"], gallery, facen, 1, ALIKE, [face["_id"]])
    except (FacenError, BadValueError):
        return False
    return [hit.id for hit in found.hits] == [face["_id"]]

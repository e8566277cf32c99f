"""A facen storage brought to what MongoDB says, from nothing or from half-way, and proven equal."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from bson import ObjectId

from pipeline.faces.facen import FacenError
from store.errors import BadValueError, StoreError
from store.facens.storage import FacenStorage
from store.facens.sync.change_stream import FaceLocks, Following, Settled
from store.facens.sync.diff import compared
from store.facens.sync.load import FIELDS, facen_for
from store.facens.sync.reconcile import Difference, differences, listed_galleries, reconcile
from store.mongo.client import Collection, Database, Document
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error

ALIKE = 0.9999
SAMPLES = 20
"""Faces of each gallery that are looked for by their facens."""
TRIES = 3


@dataclass(frozen=True, slots=True)
class Proof:
    """What was compared, and found to be equal."""

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
    """Brings the target to what MongoDB holds, and proves that both hold the same.

    What the target has already is compared, number by number, and stays where it is in order: this can be
    broken off and begun again, and meanwhile others may go on storing, and searching the target.

    Args:
        told: hears how many entries were compared or brought since it was called before.
        locks: those of the faces, where this process changes them, too.

    Raises:
        StoreError: a side does not answer, or they are not equal, which should not be.
    """
    following = Following(database["faces"], target, locks or FaceLocks())
    put_right = 0
    if await target.galleries():
        async for looked in compared(database["faces"], target):
            for face_id in looked.suspects:
                put_right += await following.settle(face_id) is Settled.OTHER
            told(looked.entries)
    before = float("inf")
    # While others go on storing each round has less to do than the one before, down to what comes meanwhile.
    while 0 < (found := sum(await reconcile(database, target, following, told=told))) < before:
        before = found
    return replace(await prove_equal(database, target, following), put_right=put_right)


async def prove_equal(database: Database, target: FacenStorage, following: Following | None = None) -> Proof:
    """Every id of every gallery, and for some faces of each that their facens lead to them.

    `following`: of the target, where others go on storing: a face that came or went while both sides were
    read is put right and looked at alone. StoreError where both are not equal.
    """
    unusable: set[int] = set()
    async for found in differences(database, target):
        for face_id in [*found.missing.tolist(), *found.foreign.tolist()]:
            settled = following and await _settled(following, found, face_id)
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
        looked_for += await _sample_found(database, target, owner, gallery, following)
    return Proof(galleries, entries, looked_for, len(unusable))


async def _settled(following: Following, found: Difference, face_id: int) -> Settled | None:
    """How a face is that differed a moment ago; None where it differs again and again."""
    for _ in range(TRIES):  # others remove a face from MongoDB first, and then from the storage
        settled = await following.settle(face_id)
        if settled is Settled.UNUSABLE or await following.agrees(found.owner, found.gallery, face_id):
            return settled
    return None


async def _sample_found(
    database: Database, target: FacenStorage, owner: ObjectId, gallery: str, following: Following | None
) -> int:
    """How many faces were looked for, and found."""
    faces = database["faces"]
    sample: list[dict[str, Any]] = [
        {"$match": {"owner": owner, "gallery": gallery}},
        {"$sample": {"size": SAMPLES}},
        {"$project": FIELDS},
    ]
    looked_for = 0
    try:
        for face in [face async for face in faces.aggregate(sample)]:
            await asyncio.sleep(0)  # in memory nobody waits for an answer
            if await _is_found(target, face, gallery):
                looked_for += 1
            elif following is None or not await _is_found_or_gone(faces, target, face, gallery, following):
                raise StoreError(
                    f"the face {face['_id']} is not found by its own facen in the gallery {gallery}; "
                    "make the facens anew with `facend facens rebuild`"
                )
    except DRIVER_ERRORS as error:
        raise translate_error(error, "faces.sample") from error
    return looked_for


async def _is_found_or_gone(
    faces: Collection, target: FacenStorage, face: Document, gallery: str, following: Following
) -> bool:
    """Whether all is well with a face that was not found a moment ago, put right where it was not."""
    for _ in range(TRIES):
        if await following.settle(face["_id"]) is Settled.UNUSABLE:
            return True
        async with following.lock(face["_id"]):
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

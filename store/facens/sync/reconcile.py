"""Compares the ids in the facen storage with MongoDB, and updates the storage."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from bson import ObjectId, decode_all
from numpy.typing import NDArray

from store.facens.engine.sharded import ShardFilter
from store.facens.storage import FacenStorage, GalleryKey, drain
from store.facens.sync.change_stream import LOAD_BATCH, ChangeStream
from store.mongo.client import Collection, Database
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error

Ids = NDArray[np.int64]
BATCH = 100_000
ID_DOCUMENT = np.dtype([("length", "<i4"), ("type", "u1"), ("name", "S4"), ("id", "<i8"), ("end", "u1")])
"""A BSON document `{_id: int64}` (https://bsonspec.org/spec.html)."""
INT64 = 0x12


@dataclass(frozen=True, slots=True)
class Difference:
    owner: ObjectId
    gallery: str
    missing: Ids
    """Listed in MongoDB, missing in the storage."""
    foreign: Ids
    """In the storage, not listed in MongoDB."""

    def __len__(self) -> int:
        return len(self.missing) + len(self.foreign)


async def listed_galleries(database: Database, facens: FacenStorage) -> list[GalleryKey]:
    """The galleries of MongoDB and of the storage."""
    try:
        known = [
            (one["owner"], one["name"])
            async for one in database["galleries"].find({}, {"owner": 1, "name": 1})
            if isinstance(one.get("owner"), ObjectId) and isinstance(one.get("name"), str)
        ]
    except DRIVER_ERRORS as error:
        raise translate_error(error, "galleries.find") from error
    return sorted({*known, *await facens.galleries()})


async def listed_ids(faces: Collection, owner: ObjectId, gallery: str) -> Ids:
    """The ids of the faces that list this gallery, in order."""
    return await find_ids(faces, {"owner": owner, "gallery": gallery})


async def find_ids(faces: Collection, query: dict[str, Any], max_time_ms: int | None = None) -> Ids:
    """The ids of the faces that pass the query, in order.

    Reads raw batches and decodes them in a thread: dictionaries would take ten times as long.
    """
    parts: list[Ids] = []
    # The index alone answers this. Faces with other malformed fields are skipped later, when they are read.
    whole = {"$and": [query, {"_id": {"$type": ["int", "long"]}}]}
    cursor = faces.ungated.find_raw_batches(whole, {"_id": 1}, batch_size=BATCH, max_time_ms=max_time_ms)
    try:
        parts.extend([await asyncio.to_thread(_ids_of, batch) async for batch in cursor])
    except DRIVER_ERRORS as error:
        raise translate_error(error, "faces.ids") from error
    return np.sort(np.concatenate(parts)) if parts else np.empty(0, np.int64)


def _ids_of(batch: bytes) -> Ids:
    if len(batch) % ID_DOCUMENT.itemsize == 0:
        table = np.frombuffer(batch, dtype=ID_DOCUMENT)
        if (table["length"] == ID_DOCUMENT.itemsize).all() and (table["type"] == INT64).all():
            return np.array(table["id"], dtype=np.int64)
    # Small ids are encoded with 32 bits.
    return np.array([document["_id"] for document in decode_all(batch)], dtype=np.int64)


async def held_ids(facens: FacenStorage, owner: ObjectId, gallery: str) -> Ids:
    """The ids of a gallery in the storage, in order."""
    return await asyncio.to_thread(drain, await facens.ids(owner, gallery))


async def differences(
    database: Database, facens: FacenStorage, belongs: ShardFilter | None = None
) -> AsyncIterator[Difference]:
    """The galleries whose faces differ at present.

    `belongs`: selects the faces of the storage if it is a shard.
    """
    for owner, gallery in await listed_galleries(database, facens):
        listed = await listed_ids(database["faces"], owner, gallery)
        if belongs is not None:
            listed = listed[belongs(listed)]
        held = await held_ids(facens, owner, gallery)
        missing = await asyncio.to_thread(np.setdiff1d, listed, held, assume_unique=True)
        foreign = await asyncio.to_thread(np.setdiff1d, held, listed, assume_unique=True)
        if len(missing) or len(foreign):
            yield Difference(owner, gallery, missing, foreign)


async def reconcile(
    database: Database,
    facens: FacenStorage,
    change_stream: ChangeStream,
    belongs: ShardFilter | None = None,
    on_progress: Callable[[int], object] = lambda _: None,
) -> tuple[int, int]:
    """Load missing faces and remove foreign entries; returns their numbers.

    Args:
        change_stream: the storage's change stream, which checks each face again under its lock.
        on_progress: called with the number of faces corrected since the previous call.
    """
    missing = foreign = 0
    async for found in differences(database, facens, belongs):
        for start in range(0, len(found.missing), LOAD_BATCH):
            batch = found.missing[start : start + LOAD_BATCH].tolist()
            await change_stream.load_missing(found.owner, found.gallery, batch)
            on_progress(len(batch))
        for face_id in found.foreign.tolist():
            await change_stream.sync_face(face_id)
            on_progress(1)
        missing, foreign = missing + len(found.missing), foreign + len(found.foreign)
    return missing, foreign

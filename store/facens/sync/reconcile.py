"""The facen storage compared with MongoDB, by ids alone, and brought to what MongoDB says."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from bson import ObjectId, decode_all
from numpy.typing import NDArray

from store.facens.engine.sharded import Mine
from store.facens.storage import FacenStorage, GalleryKey, unwrapped
from store.facens.sync.change_stream import BRING_AT_ONCE, ChangeStream
from store.mongo.client import Collection, Database
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error

Ids = NDArray[np.int64]
BATCH = 100_000
ID_DOCUMENT = np.dtype([("length", "<i4"), ("type", "u1"), ("name", "S4"), ("id", "<i8"), ("end", "u1")])
"""`{_id: …}` in BSON with a whole number of 64 bits (https://bsonspec.org/spec.html): 18 bytes, always."""
INT64 = 0x12


@dataclass(frozen=True, slots=True)
class Difference:
    owner: ObjectId
    gallery: str
    missing: Ids
    """In MongoDB's list, not in the storage."""
    foreign: Ids
    """In the storage, not in MongoDB's list."""

    def __len__(self) -> int:
        return len(self.missing) + len(self.foreign)


async def listed_galleries(database: Database, facens: FacenStorage) -> list[GalleryKey]:
    """Every gallery that MongoDB or the storage knows."""
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
    return await ids_of(faces, {"owner": owner, "gallery": gallery})


async def ids_of(faces: Collection, query: dict[str, Any], max_time_ms: int | None = None) -> Ids:
    """The ids of the faces that pass the query, in order; read as they come from the server, unwrapped in a
    thread, because a million of them as dictionaries take ten times as long."""
    parts: list[Ids] = []
    # The index alone answers this; what is malformed otherwise is passed over when the face itself is read.
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
    # Small numbers come with 32 bits.
    return np.array([document["_id"] for document in decode_all(batch)], dtype=np.int64)


async def held_ids(facens: FacenStorage, owner: ObjectId, gallery: str) -> Ids:
    """The ids that the storage holds in a gallery, in order."""
    return await asyncio.to_thread(unwrapped, await facens.ids(owner, gallery))


async def differences(
    database: Database, facens: FacenStorage, mine: Mine | None = None
) -> AsyncIterator[Difference]:
    """Gallery by gallery, where both do not hold the same faces at this moment.

    `mine`: which faces the storage is to hold, where it is only a shard.
    """
    for owner, gallery in await listed_galleries(database, facens):
        listed = await listed_ids(database["faces"], owner, gallery)
        if mine is not None:
            listed = listed[mine(listed)]
        held = await held_ids(facens, owner, gallery)
        missing = await asyncio.to_thread(np.setdiff1d, listed, held, assume_unique=True)
        foreign = await asyncio.to_thread(np.setdiff1d, held, listed, assume_unique=True)
        if len(missing) or len(foreign):
            yield Difference(owner, gallery, missing, foreign)


async def reconcile(
    database: Database,
    facens: FacenStorage,
    change_stream: ChangeStream,
    mine: Mine | None = None,
    told: Callable[[int], object] = lambda _: None,
) -> tuple[int, int]:
    """Brings in what is missing, and takes out what is foreign; how many of each there were.

    `told` hears how many were put right since it was called before.
    `change_stream`: of the same storage; it checks a face again under the face's lock.
    """
    missing = foreign = 0
    async for found in differences(database, facens, mine):
        for start in range(0, len(found.missing), BRING_AT_ONCE):
            some = found.missing[start : start + BRING_AT_ONCE].tolist()
            await change_stream.bring(found.owner, found.gallery, some)
            told(len(some))
        for face_id in found.foreign.tolist():
            await change_stream.settle(face_id)
            told(1)
        missing, foreign = missing + len(found.missing), foreign + len(found.foreign)
    return missing, foreign

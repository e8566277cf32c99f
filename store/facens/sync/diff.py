"""Compares the facens of faces in MongoDB with their entries in the facen storage, by value."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from bson import decode_iter
from bson.codec_options import CodecOptions

from pipeline.faces.facen import FacenError
from pipeline.types import Facen
from store.errors import BadValueError
from store.facens.storage import FacenStorage, GalleryKey
from store.facens.sync.load import FIELDS, facen_for
from store.mongo.client import Collection
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error

BATCH = 1000
LISTED: dict[str, Any] = {"gallery": {"$nin": [None, []]}}
"""Faces that are in a gallery."""


@dataclass(frozen=True, slots=True)
class ComparedBatch:
    """Result of comparing a batch of faces."""

    entries: int
    """Number of the faces' entries in the storage, one per gallery."""
    suspects: list[int]
    """Faces with different facens in storage and MongoDB, or without a usable facen in MongoDB."""


async def expected_entries(faces: Collection) -> dict[GalleryKey, int]:
    """Number of entries that each gallery should have according to MongoDB."""
    steps: list[dict[str, Any]] = [
        {"$match": LISTED},
        {"$unwind": "$gallery"},
        {"$group": {"_id": {"owner": "$owner", "gallery": "$gallery"}, "entries": {"$sum": 1}}},
    ]
    try:
        found = [gallery async for gallery in faces.aggregate(steps)]
    except DRIVER_ERRORS as error:
        raise translate_error(error, "faces.count") from error
    return {(gallery["_id"]["owner"], gallery["_id"]["gallery"]): gallery["entries"] for gallery in found}


async def compare_batches(faces: Collection, facens: FacenStorage) -> AsyncIterator[ComparedBatch]:
    """Compare all faces in batches. Suspects may have changed since: check them again.

    Facens are decoded in a thdecoded. Each batch is a query, because the server would close an idle cursor
    while the caller corrects suspects.
    """
    query = LISTED
    while True:
        batches = faces.find_raw_batches(query, FIELDS, sort=[("_id", 1)], limit=BATCH, batch_size=BATCH)
        try:
            decoded = await asyncio.to_thread(
                _decode, facens, [batch async for batch in batches], faces.codec_options
            )
        except DRIVER_ERRORS as error:
            raise translate_error(error, "faces.find") from error
        if decoded.last is None:
            return
        entries, suspects = 0, set(decoded.unusable)
        for (owner, gallery), listed in decoded.galleries.items():
            found = await facens.compare(owner, gallery, listed)
            entries += found.same + len(found.other)
            suspects.update(found.other)
        yield ComparedBatch(entries, sorted(suspects))
        query = {**LISTED, "_id": {"$gt": decoded.last}}


@dataclass(slots=True)
class _DecodedBatch:
    last: int | None = None
    galleries: dict[GalleryKey, list[tuple[int, Facen]]] = field(default_factory=lambda: defaultdict(list))
    unusable: list[int] = field(default_factory=list)


def _decode(
    facens: FacenStorage, batches: Sequence[bytes], options: CodecOptions[dict[str, Any]]
) -> _DecodedBatch:
    decoded = _DecodedBatch()
    for batch in batches:
        for document in decode_iter(batch, options):
            decoded.last = document["_id"]
            try:
                facen = facen_for(facens, document)
            except (FacenError, BadValueError):
                decoded.unusable.append(document["_id"])
                continue
            for gallery in document["gallery"]:
                decoded.galleries[document["owner"], gallery].append((document["_id"], facen))
    return decoded

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
    """The result for one batch of faces."""

    entries: int
    """Number of their entries in the storage, one per gallery of a face."""
    suspects: list[int]
    """Faces with another facen in the storage, or without a usable one in MongoDB."""


async def entries_listed(faces: Collection) -> dict[GalleryKey, int]:
    """Expected number of entries of each gallery, by MongoDB."""
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


async def compared(faces: Collection, facens: FacenStorage) -> AsyncIterator[ComparedBatch]:
    """Compares all faces in batches. Suspects may have changed meanwhile: check them again.

    Decodes in a thread. Queries again for each batch, because the server would close an idle cursor while
    suspects are corrected.
    """
    query = LISTED
    while True:
        batches = faces.find_raw_batches(query, FIELDS, sort=[("_id", 1)], limit=BATCH, batch_size=BATCH)
        try:
            read = await asyncio.to_thread(
                _read, facens, [batch async for batch in batches], faces.codec_options
            )
        except DRIVER_ERRORS as error:
            raise translate_error(error, "faces.find") from error
        if read.last is None:
            return
        entries, suspects = 0, set(read.unusable)
        for (owner, gallery), listed in read.galleries.items():
            found = await facens.compare(owner, gallery, listed)
            entries += found.same + len(found.other)
            suspects.update(found.other)
        yield ComparedBatch(entries, sorted(suspects))
        query = {**LISTED, "_id": {"$gt": read.last}}


@dataclass(slots=True)
class _Read:
    last: int | None = None
    galleries: dict[GalleryKey, list[tuple[int, Facen]]] = field(default_factory=lambda: defaultdict(list))
    unusable: list[int] = field(default_factory=list)


def _read(facens: FacenStorage, batches: Sequence[bytes], options: CodecOptions[dict[str, Any]]) -> _Read:
    read = _Read()
    for batch in batches:
        for document in decode_iter(batch, options):
            read.last = document["_id"]
            try:
                facen = facen_for(facens, document)
            except (FacenError, BadValueError):
                read.unusable.append(document["_id"])
                continue
            for gallery in document["gallery"]:
                read.galleries[document["owner"], gallery].append((document["_id"], facen))
    return read

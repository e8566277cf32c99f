"""The facen storage out of MongoDB, which is the truth."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import structlog
from bson import ObjectId

from pipeline.facen import FacenError, decode
from pipeline.types import Facen
from store.client import Collection
from store.errors import BadValueError
from store.facens.storage import FacenStorage

log = structlog.get_logger()

BATCH = 1000


@dataclass(frozen=True, slots=True)
class Filled:
    faces: int
    entries: int
    """A face counts once for each of its galleries."""
    refused: int
    """Faces whose facen is none, or of another size: made by another model pack."""


async def fill(faces: Collection, facens: FacenStorage, query: dict[str, Any] | None = None) -> Filled:
    """Brings the faces (or those that pass the query) into the storage where they are missing.

    Streams: the memory it needs beside the storage's does not grow with the number of faces.
    """
    count = entries = refused = 0
    batch: dict[tuple[ObjectId, str], list[tuple[int, Facen]]] = defaultdict(list)
    cursor = faces.find(
        query or {"gallery": {"$ne": []}}, {"owner": 1, "gallery": 1, "facen": 1}, batch_size=BATCH
    )
    async for document in cursor:
        try:
            facen = decode(document.get("facen"))
        except FacenError as error:
            refused += 1
            log.warning("a stored face has no usable facen", face=document["_id"], reason=str(error))
            continue
        for gallery in document.get("gallery") or ():
            batch[document["owner"], gallery].append((document["_id"], facen))
        count += 1
        if count % BATCH == 0:
            added, bad = await _add(batch, facens)
            entries, refused = entries + added, refused + bad
    added, bad = await _add(batch, facens)
    return Filled(count, entries + added, refused + bad)


async def _add(
    batch: dict[tuple[ObjectId, str], list[tuple[int, Facen]]], facens: FacenStorage
) -> tuple[int, int]:
    added = refused = 0
    for (owner, gallery), entries in batch.items():
        try:
            added += await facens.add_many(owner, gallery, entries)
        except BadValueError as error:
            # One face of another pack must not keep the others of its batch out.
            for entry in entries:
                try:
                    added += await facens.add_many(owner, gallery, [entry])
                except BadValueError:
                    refused += 1
            log.warning("stored faces do not fit the facen storage", gallery=gallery, reason=str(error))
    batch.clear()
    return added, refused

"""Loads the facen storage from MongoDB."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from bson import ObjectId

from pipeline.faces.facen import FacenError, decode
from pipeline.types import Facen
from store.errors import BadValueError
from store.facens.pack import pack_of
from store.facens.storage import FacenStorage
from store.mongo.client import Collection

log = structlog.get_logger()

BATCH = 1000
FIELDS = {"owner": 1, "gallery": 1, "facen": 1, "detector_info.pack": 1}


@dataclass(frozen=True, slots=True)
class LoadCounts:
    """Counts of a load."""

    faces: int
    entries: int
    """A face counts once for each of its galleries."""
    refused: int
    """Faces without a facen of the storage's size and model pack."""


async def load_facens(
    faces: Collection, facens: FacenStorage, query: dict[str, Any] | None = None
) -> LoadCounts:
    """Load missing faces of all galleries, or those that match the query, into the storage.

    Reads them as a stream, so that only the storage needs memory.
    """
    count = entries = refused = 0
    batch: dict[tuple[ObjectId, str], list[tuple[int, Facen]]] = defaultdict(list)
    cursor = faces.find(query or {"gallery": {"$ne": []}}, FIELDS, batch_size=BATCH)
    async for document in cursor:
        try:
            facen = facen_for(facens, document)
        except (FacenError, BadValueError) as error:
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
    return LoadCounts(count, entries + added, refused + bad)


def facen_for(facens: FacenStorage, document: dict[str, Any]) -> Facen:
    """The facen of a face's document, read with `FIELDS`, for this storage.

    Raises:
        FacenError: the facen is invalid.
        BadValueError: the facen is of another model pack.
    """
    check_pack(facens, document)
    return decode(document.get("facen", ""))


def check_pack(facens: FacenStorage, face: Mapping[str, Any]) -> None:
    """BadValueError if the face's facen is of another model pack than the storage's."""
    pack = pack_of(face)
    if None not in (pack, facens.pack) and pack != facens.pack:
        raise BadValueError(f"its facen is of the model pack {pack}, not of {facens.pack}")


async def _add(
    batch: dict[tuple[ObjectId, str], list[tuple[int, Facen]]], facens: FacenStorage
) -> tuple[int, int]:
    added = refused = 0
    for (owner, gallery), entries in batch.items():
        try:
            added += await facens.add_many(owner, gallery, entries)
        except BadValueError as error:
            # Add the valid faces of the batch individually.
            for entry in entries:
                try:
                    added += await facens.add_many(owner, gallery, [entry])
                except BadValueError:
                    refused += 1
            log.warning("stored faces do not fit the facen storage", gallery=gallery, reason=str(error))
    batch.clear()
    return added, refused

"""The search for the nearest faces: the facen storage finds them, MongoDB confirms them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bson import ObjectId

from pipeline.types import Facen
from store.facens.storage import FacenStorage
from store.facens.sync.reconcile import ids_of
from store.mongo.client import Collection

ASK_AT_ONCE = 10_000
"""A question to MongoDB may have 16 MB, which a million ids would exceed."""


@dataclass(frozen=True, slots=True)
class Nearest:
    faces: list[tuple[dict[str, Any], float]]
    """Documents and confidences, the best first."""
    live_servers: int
    total_servers: int
    more: bool
    """There may be others after the last one."""


async def nearest(
    faces: Collection,
    facens: FacenStorage,
    owner: ObjectId,
    galleries: Sequence[str],
    facen: Facen,
    limit: int,
    threshold: float,
    query: dict[str, Any],
    ignore_errors: bool = False,
    max_time_ms: int | None = None,
) -> Nearest:
    """The `limit` faces in these galleries most like the facen, with at least the threshold's confidence.

    With a query, those that pass it are looked up first and the search is among them, so that
    nothing that passes is missed. An entry of the storage whose face MongoDB does not have
    (another process has removed it) is passed over, and the search goes on further down.
    `max_time_ms` limits each query to MongoDB.
    """
    here: dict[str, Any] = {"owner": owner, "gallery": {"$in": list(galleries)}}
    if query:
        here = {"$and": [here, query]}
    allowed = await ids_of(faces, here, max_time_ms) if query else None
    wanted = limit
    while True:
        best: dict[int, float] = {}
        full, servers = False, []
        for gallery in galleries:
            found = await facens.search(owner, gallery, facen, wanted, threshold, allowed, ignore_errors)
            full = full or len(found.hits) == wanted
            servers.append((found.live_servers, found.total_servers))
            for hit in found.hits:
                best[hit.id] = max(hit.confidence, best.get(hit.id, 0.0))
        order = sorted(best.items(), key=lambda item: (-item[1], item[0]))[:wanted]
        documents = await _documents(faces, here, [key for key, _ in order], max_time_ms)
        confirmed = [(documents[key], sure) for key, sure in order if key in documents]
        if len(confirmed) >= limit or not full:
            live, total = min(servers)
            return Nearest(confirmed[:limit], live, total, full)
        wanted *= 4


async def _documents(
    faces: Collection, here: dict[str, Any], keys: list[int], max_time_ms: int | None
) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for start in range(0, len(keys), ASK_AT_ONCE):
        query = {"$and": [{"_id": {"$in": keys[start : start + ASK_AT_ONCE]}}, here]}
        cursor = faces.find(query, max_time_ms=max_time_ms)
        found |= {document["_id"]: document async for document in cursor}
    return found

"""Searches for the nearest faces in the facen storage, and reads them from MongoDB."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from bson import ObjectId

from pipeline.types import Facen
from store.face import Face
from store.facens.storage import FacenStorage
from store.facens.sync.reconcile import find_ids
from store.mongo.client import Collection

IDS_PER_QUERY = 10_000
"""A query to MongoDB has at most 16 MB, which a million ids exceed."""


@dataclass(frozen=True, slots=True)
class Nearest:
    faces: list[tuple[dict[str, Any], float]]
    """Documents and confidences, best first."""
    live_servers: int
    total_servers: int
    more: bool
    """Whether there may be more after the last one."""


class IdentifyResult(NamedTuple):
    """A similar face."""

    face: Face
    confidence: float
    """0 to 1."""


class IdentifyResults(list[IdentifyResult]):
    """The faces found, best first, and the numbers of servers of the facen storage.

    `live_server` (the same as `live_servers`) and `total_servers` are None unless the search had
    `ignore_errors=True`.
    """

    def __init__(
        self,
        results: Iterable[IdentifyResult] = (),
        live_servers: int | None = None,
        total_servers: int | None = None,
    ) -> None:
        super().__init__(results)
        self.live_servers = live_servers
        self.total_servers = total_servers

    @property
    def live_server(self) -> int | None:
        return self.live_servers


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
    """The `limit` faces in these galleries nearest to the facen, with at least the threshold's confidence.

    With a query, MongoDB first selects the faces that pass it, and only these are searched, so that none is
    missed. Entries without a face in MongoDB, which another process has removed, are skipped, and the search
    is extended. `max_time_ms` limits each query to MongoDB.
    """
    here: dict[str, Any] = {"owner": owner, "gallery": {"$in": list(galleries)}}
    if query:
        here = {"$and": [here, query]}
    allowed = await find_ids(faces, here, max_time_ms) if query else None
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
        confirmed = [(documents[key], confidence) for key, confidence in order if key in documents]
        if len(confirmed) >= limit or not full:
            live, total = min(servers)
            return Nearest(confirmed[:limit], live, total, full)
        wanted *= 4


async def _documents(
    faces: Collection, here: dict[str, Any], keys: list[int], max_time_ms: int | None
) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for start in range(0, len(keys), IDS_PER_QUERY):
        query = {"$and": [{"_id": {"$in": keys[start : start + IDS_PER_QUERY]}}, here]}
        cursor = faces.find(query, max_time_ms=max_time_ms)
        found |= {document["_id"]: document async for document in cursor}
    return found

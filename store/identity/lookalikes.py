"""Searches for faces without a person, and other persons, that look like given persons.

Every facen is compared, without the facen storage, because an erasure must not miss faces that the storage
does not have yet.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from bson import ObjectId
from numpy.typing import NDArray

from pipeline.faces.facen import confidence, normalise
from pipeline.models.packs import known_packs
from pipeline.types import Facen, Sighting
from store.context import Context
from store.face import Face
from store.face_fields import usable_facen, visit_of
from store.identity.unassigned import SAME_VISIT_CONFIDENCE
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error

BATCH = 500
FIELDS = {"facen": 1, "person_id": 1, "cam_id": 1, "detector_info": 1}


@dataclass(frozen=True, slots=True)
class Lookalike:
    """Another person with a similar face."""

    person_id: int
    name: str | None
    confidence: float
    """Confidence of the two most similar faces, 0 to 1."""
    faces: int
    first_seen: datetime | None
    last_seen: datetime | None


class LookalikeSearch:
    """Compares persons with every other face of the same user."""

    def __init__(self, ctx: Context, owner: ObjectId, threshold: float | None = None) -> None:
        """`threshold`: minimum confidence of similar faces. Default: the low threshold of the facens' model
        pack."""
        self._ctx = ctx
        self._owner = owner
        self._faces = ctx.database["faces"]
        self._known: NDArray[np.float32] | None = None
        self._packs: set[str | None] = set()
        self._visits: set[tuple[object, str]] = set()
        self.threshold = threshold

    async def learn(self, persons: Collection[int]) -> None:
        """Read the facens and visits of these persons, to compare others with them."""
        query = {"owner": self._owner, "person_id": {"$in": list(persons)}}
        facens = []
        async for face in self._read(query, FIELDS):
            facen = usable_facen(face, self._ctx.faces.facen_size)
            if facen is not None:
                facens.append(facen)
                self._packs.add((face.get("detector_info") or {}).get("pack"))
            if (visit := visit_of(face)) is not None:
                self._visits.add((face.get("cam_id"), visit))
        sizes = {len(facen) for facen in facens}
        self._known = np.stack(facens) if len(sizes) == 1 else None
        if self.threshold is None:
            lows = [pack.thresholds.low for pack in known_packs() if pack.name in self._packs]
            self.threshold = min(lows, default=None)

    @property
    def is_comparable(self) -> bool:
        """Whether there are facens to compare with, and a threshold for them."""
        return self._known is not None and self.threshold is not None

    def matches(self, sighting: Sighting) -> bool | None:
        """Whether a sighting shows a similar face; None if it cannot be compared."""
        if self._known is None or self.threshold is None:
            return None
        if not self._packs & {sighting.pack, None}:  # None: stored before faces recorded their pack
            return None
        facen = sighting.facen
        if len(facen) != self._known.shape[1] or not np.isfinite(facen).all() or not facen.any():
            return None
        return self._compare(normalise(facen), (sighting.cam_id, sighting.visit_id))[0]

    def _compare(self, facen: Facen, visit: tuple[object, str | None]) -> tuple[bool, float]:
        """Whether a facen is similar enough, and the confidence of the best match."""
        assert self._known is not None and self.threshold is not None  # noqa: S101  `is_comparable`
        best = float(confidence(float((self._known @ facen).max())))
        required = min(SAME_VISIT_CONFIDENCE, self.threshold) if visit in self._visits else self.threshold
        return best >= required, best

    async def unassigned(self) -> AsyncIterator[Face]:
        """Similar faces without a person."""
        query = {"owner": self._owner, "person_id": None}
        async for ids, _ in self._similar(query):
            for document in await self._documents(ids):
                yield self._ctx.faces.wrap_in_model(document)

    async def lookalikes(self, persons: Collection[int]) -> list[Lookalike]:
        """Other persons with a similar face, the most similar first."""
        best: dict[int, float] = {}
        query = {"owner": self._owner, "person_id": {"$nin": [*persons, None]}}
        async for _, found in self._similar(query):
            for person, value in found:
                best[person] = max(value, best.get(person, 0.0))
        return sorted(
            [await self._describe(person, value) for person, value in best.items()],
            key=lambda lookalike: (-lookalike.confidence, lookalike.person_id),
        )

    async def _similar(
        self, query: dict[str, Any]
    ) -> AsyncIterator[tuple[list[int], list[tuple[int, float]]]]:
        """For each batch: the ids of similar faces, and their persons with the confidence."""
        if not self.is_comparable:
            return
        batch: list[dict[str, Any]] = []
        async for face in self._read(query, FIELDS):
            batch.append(face)
            if len(batch) >= BATCH:
                yield await asyncio.to_thread(self._compare_batch, batch)
                batch = []
        if batch:
            yield await asyncio.to_thread(self._compare_batch, batch)

    def _compare_batch(self, batch: Sequence[dict[str, Any]]) -> tuple[list[int], list[tuple[int, float]]]:
        assert self._known is not None and self.threshold is not None  # noqa: S101  `is_comparable`
        ids, persons = [], []
        for face in batch:
            facen = usable_facen(face, self._known.shape[1])
            if facen is None:
                continue
            is_similar, best = self._compare(facen, (face.get("cam_id"), visit_of(face)))
            if is_similar:
                ids.append(face["_id"])
                if face.get("person_id") is not None:
                    persons.append((face["person_id"], best))
        return ids, persons

    async def _describe(self, person_id: int, best: float) -> Lookalike:
        person = await self._ctx.persons.find_one(self._owner, {"_id": person_id})
        theirs = {"owner": self._owner, "person_id": person_id}
        number = {"$sum": 1}
        group = {
            "_id": None,
            "faces": number,
            "first": {"$min": "$timestamp"},
            "last": {"$max": "$timestamp"},
        }
        try:
            found = await self._faces.aggregate([{"$match": theirs}, {"$group": group}]).to_list(1)
        except DRIVER_ERRORS as error:
            raise translate_error(error, "faces.aggregate") from error
        seen: dict[str, Any] = found[0] if found else {"faces": 0, "first": None, "last": None}
        name = person.get("name") if person else None
        return Lookalike(person_id, name, round(best, 4), seen["faces"], seen["first"], seen["last"])

    async def _read(self, query: dict[str, Any], fields: dict[str, int]) -> AsyncIterator[dict[str, Any]]:
        last = -1
        while True:
            page = {"$and": [query, {"_id": {"$gt": last}}]}
            try:
                found = await self._faces.find(page, fields).sort("_id", 1).limit(BATCH).to_list(BATCH)
            except DRIVER_ERRORS as error:
                raise translate_error(error, "faces.find") from error
            if not found:
                return
            for face in found:
                yield face
            last = found[-1]["_id"]

    async def _documents(self, ids: Sequence[int]) -> list[dict[str, Any]]:
        try:
            found: list[dict[str, Any]] = await self._faces.find(
                {"_id": {"$in": list(ids)}, "owner": self._owner, "person_id": None}
            ).to_list(None)
        except DRIVER_ERRORS as error:
            raise translate_error(error, "faces.find") from error
        return found

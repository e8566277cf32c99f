"""Whose face is this? The nearest face that has a person, or a person who is just being made."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import bson
from bson import ObjectId

from pipeline.facen import FacenError, confidence, decode, encode
from pipeline.types import Facen
from store.client import Collection
from store.facens.storage import FacenStorage
from store.nearest import nearest

FIRST_LOOK = 8
SLACK = 1e-6
"""Rounding of float32: the same facen has to reach a threshold of 1."""
FOUNDING = timedelta(minutes=10)
"""For so long a new person is found by the facen it was made for, until its first face is in the gallery."""
WITH_PERSON: dict[str, Any] = {"person_id": {"$type": ["int", "long"]}}


class Likeness(NamedTuple):
    person_id: int
    confidence: float


@dataclass(frozen=True, slots=True)
class Question:
    """Whose face is this, among the faces of these galleries that pass the filters?"""

    owner: ObjectId
    galleries: tuple[str, ...]
    facen: Facen
    threshold: float
    query: dict[str, Any]
    """The filters, checked; {} for none."""

    def enough(self, near: Iterable[Likeness]) -> list[Likeness]:
        """Those that reach the threshold, the most alike first."""
        return _sorted(one for one in near if one.confidence >= self.threshold - SLACK)

    def founding(self) -> dict[str, Any]:
        """What the document of a person made for this question says about it."""
        return {
            "galleries": list(self.galleries),
            "facen": encode(self.facen),
            "filters": self._digest(),
            "at": datetime.now(UTC),
        }

    def founded(self, gallery: str) -> dict[str, Any]:
        """The persons made a moment ago for a question like this one."""
        return {
            "owner": self.owner,
            "founding.galleries": gallery,
            "founding.at": {"$gt": datetime.now(UTC) - FOUNDING},
            "founding.filters": self._digest(),
        }

    def _digest(self) -> str:
        return hashlib.sha256(bson.encode(self.query)).hexdigest() if self.query else ""


class PersonSearch:
    """Looks for persons by their faces."""

    def __init__(self, faces: Collection, persons: Collection, facens: FacenStorage) -> None:
        self._faces = faces
        self._persons = persons
        self._facens = facens

    async def nearest(self, question: Question, max_time_ms: int | None = None) -> list[Likeness]:
        """The person of the most alike face that has one, of each gallery; the most alike first.

        They may lie below the threshold; see `Question.enough`. `max_time_ms` limits each query to MongoDB.
        """
        found = [await self._nearest(question, gallery, max_time_ms) for gallery in question.galleries]
        return _sorted(one for one in found if one is not None)

    async def _nearest(self, question: Question, gallery: str, max_time_ms: int | None) -> Likeness | None:
        where = (self._faces, self._facens, question.owner, [gallery])
        if question.query:
            query = {"$and": [question.query, WITH_PERSON]}
            found = await nearest(*where, question.facen, 1, 0.0, query, max_time_ms=max_time_ms)
            return _first(found.faces)
        # Nearly every face of a person gallery has a person, so the first few tell.
        limit = FIRST_LOOK
        while True:
            found = await nearest(*where, question.facen, limit, 0.0, {}, max_time_ms=max_time_ms)
            if (first := _first(found.faces)) is not None:
                return first
            if not found.more or not found.faces or found.faces[-1][1] < question.threshold - SLACK:
                return None
            limit *= 4

    async def founders(self, question: Question) -> list[Likeness]:
        """Those made a moment ago by a question like this one, whose first face may not be stored yet."""
        found = []
        for gallery in question.galleries:
            async for person in self._persons.find(question.founded(gallery), {"founding.facen": 1}):
                try:
                    other = decode(person["founding"]["facen"])
                except FacenError:
                    continue
                if len(other) == len(question.facen):
                    sure = min(1.0, max(0.0, confidence(float(other @ question.facen))))
                    found.append(Likeness(person["_id"], sure))
        return _sorted(found)


def _first(faces: list[tuple[dict[str, Any], float]]) -> Likeness | None:
    for face, sure in faces:
        person = face.get("person_id")
        if isinstance(person, int) and not isinstance(person, bool):
            return Likeness(person, sure)
    return None


def _sorted(found: Iterable[Likeness]) -> list[Likeness]:
    return sorted(found, key=lambda one: (-one.confidence, one.person_id))

"""`Question`: which person a face belongs to; and the mark of a provisional person created for it."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import bson
from bson import ObjectId

from pipeline.faces.facen import encode
from pipeline.types import Facen
from store.mongo.shapes import PROVISIONAL
from store.recognition.visit_evidence import VisitEvidence

ROUNDING = 1e-6
"""Tolerance for float32; a facen compared with itself must reach a threshold of 1."""
PROVISIONAL_PERIOD = timedelta(minutes=10)
"""Period in which a new person is found by the mark in its document, because its first face may not be stored
yet."""


@dataclass(frozen=True, slots=True)
class Question:
    """Which person does this facen belong to, among the faces of these galleries that pass the filters?"""

    owner: ObjectId
    galleries: tuple[str, ...]
    facen: Facen
    threshold: float
    query: dict[str, Any]
    """The filters, checked; {} without filters."""
    visit: VisitEvidence | None = None
    """None for a face from a picture."""
    face_id: int | None = None
    """Id of the face, if it is already stored."""
    max_time_ms: int | None = None
    """Time limit of each query to MongoDB with the filters."""

    def provisional_mark(self) -> dict[str, Any]:
        """The value of the field PROVISIONAL of a person created for this question."""
        return {
            "galleries": list(self.galleries),
            "facen": encode(self.facen),
            "filters": self._digest(),
            "at": datetime.now(UTC),
        }

    def provisional_query(self, gallery: str) -> dict[str, Any]:
        """The filter for persons created within PROVISIONAL_PERIOD for a question like this one."""
        return {
            "owner": self.owner,
            f"{PROVISIONAL}.galleries": gallery,
            f"{PROVISIONAL}.at": {"$gt": datetime.now(UTC) - PROVISIONAL_PERIOD},
            f"{PROVISIONAL}.filters": self._digest(),
        }

    def _digest(self) -> str:
        return hashlib.sha256(bson.encode(self.query)).hexdigest() if self.query else ""

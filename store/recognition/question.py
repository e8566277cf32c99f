"""The question whose face this is, and the trace that it leaves in a person made for it."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import bson
from bson import ObjectId

from pipeline.faces.facen import encode
from pipeline.types import Facen
from store.recognition.visit_evidence import VisitEvidence

ROUNDING = 1e-6
"""Rounding of float32: the same facen has to reach a threshold of 1."""
PROVISIONAL_PERIOD = timedelta(minutes=10)
"""For so long a new person is found by the facen it was made for, until its first face is in the gallery."""


@dataclass(frozen=True, slots=True)
class Question:
    """Whose face is this, among the faces of these galleries that pass the filters?"""

    owner: ObjectId
    galleries: tuple[str, ...]
    facen: Facen
    threshold: float
    query: dict[str, Any]
    """The filters, checked; {} for none."""
    visit: VisitEvidence | None = None
    """None for a face from a picture."""
    face_id: int | None = None
    """Of a stored face."""
    max_time_ms: int | None = None
    """Limit of each query to MongoDB that has the filters in it."""

    def provisional_mark(self) -> dict[str, Any]:
        """What the document of a person made for this question says about it."""
        return {
            "galleries": list(self.galleries),
            "facen": encode(self.facen),
            "filters": self._digest(),
            "at": datetime.now(UTC),
        }

    def provisional_query(self, gallery: str) -> dict[str, Any]:
        """The persons made a moment ago for a question like this one."""
        return {
            "owner": self.owner,
            "founding.galleries": gallery,
            "founding.at": {"$gt": datetime.now(UTC) - PROVISIONAL_PERIOD},
            "founding.filters": self._digest(),
        }

    def _digest(self) -> str:
        return hashlib.sha256(bson.encode(self.query)).hexdigest() if self.query else ""

"""Evidence about a camera's face besides its facen: its visit, and how well it is visible."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from store.face_fields import co_visible_visits, score_of, visit_of

PLAIN_PENALTY, OBSCURED_PENALTY = 1.2, 2.2
"""Deductions for size, sharpness and exposure from the quality score of a clearly visible face, and of a
hardly visible one (40 px high, blurred by 2 px and dark)."""
QUALITY_PARTS = ("size", "sharpness", "exposure")


@dataclass(frozen=True, slots=True)
class VisitEvidence:
    """The visit of a face, co-visible visits, and the quality of the face."""

    visit_id: str
    cam_id: str | None
    co_visible: tuple[str, ...]
    """Visits at the same camera that were visible in the same frame, and so are other people."""
    score: float
    """The quality score."""
    shots: int
    """Number of agreeing shots in the mean facen."""
    obscurity: float
    """How poorly the face is visible, 0 to 1."""

    @classmethod
    def from_face(cls, face: Mapping[str, Any]) -> "VisitEvidence | None":
        """The evidence in a face's `detector_info`; None for a face from a picture."""
        visit_id, cam_id = visit_of(face), face.get("cam_id")
        if visit_id is None:
            return None
        return cls(
            visit_id,
            cam_id if isinstance(cam_id, str) else None,
            tuple(co_visible_visits(face)),
            score_of(face),
            shots_of(face),
            obscurity(face),
        )


def shots_of(face: Mapping[str, Any]) -> int:
    """Number of agreeing shots in the facen of a face. Faces of earlier versions had one."""
    details = face.get("detector_info")
    shots = details.get("shots", 1) if isinstance(details, Mapping) else 1
    return shots if isinstance(shots, int) else 1


def obscurity(face: Mapping[str, Any]) -> float:
    """How poorly a face is visible, 0 to 1; 0 if that was not measured."""
    details = face.get("detector_info")
    parts = details.get("quality") if isinstance(details, Mapping) else None
    if not isinstance(parts, Mapping):
        return 0.0
    deductions = [-part for name in QUALITY_PARTS if _is_number(part := parts.get(name))]
    return min(1.0, max(0.0, (float(sum(deductions)) - PLAIN_PENALTY) / (OBSCURED_PENALTY - PLAIN_PENALTY)))


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)

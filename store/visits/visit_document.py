"""The document of a visit, computed from its faces. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bson import ObjectId

from store.face_fields import co_visible_visits, score_of, visit_of
from store.mongo.client import Document

MAX_CO_VISIBLE = 200
"""Maximum number of co-visible visits in a document."""
FACE_FIELDS = frozenset(
    {
        *("owner", "cam_id", "timestamp", "detector_info", "score"),
        *("person_id", "person_outcome", "person_reason", "confidence", "friend"),
    }
)
"""The fields of a face that its visit's document depends on."""


@dataclass(frozen=True, slots=True)
class VisitKey:
    """Names a visit: faces of one owner, one camera and one visit id are one visit."""

    owner: ObjectId
    cam_id: str
    visit_id: str

    @property
    def document_id(self) -> str:
        return f"{self.owner}:{self.cam_id}:{self.visit_id}"


def key_of(face: Mapping[str, Any]) -> VisitKey | None:
    """The visit of a stored face; None for an enrolled picture.

    A camera's face that names no visit is a visit by itself, whose id is the id of the face.
    """
    cam_id, owner = face.get("cam_id"), face.get("owner")
    if not isinstance(cam_id, str) or not isinstance(owner, ObjectId):
        return None
    if not isinstance(face.get("timestamp"), datetime):
        return None
    return VisitKey(owner, cam_id, visit_of(face) or str(face["_id"]))


def faces_of(key: VisitKey) -> dict[str, Any]:
    """The filter for the faces of a visit, without the owner."""
    named = {"cam_id": key.cam_id, "detector_info.visit_id": key.visit_id}
    if (face_id := face_of_visit(key.visit_id)) is None:
        return named
    return {"$or": [named, {"_id": face_id, "cam_id": key.cam_id, "detector_info.visit_id": None}]}


def face_of_visit(visit_id: str) -> int | None:
    """The id of the face that is a visit by itself; None for other visits."""
    is_number = visit_id.isascii() and visit_id.isdecimal() and len(visit_id) < 20
    return int(visit_id) if is_number and int(visit_id) < 2**63 else None


def visit_fields(key: VisitKey, faces: Sequence[Mapping[str, Any]], named: frozenset[int]) -> Document:
    """The computed fields of a visit with at least one face.

    Args:
        named: the persons who have a name.
    """
    known = [face["person_id"] for face in faces if face.get("person_id") is not None]
    person = Counter(known).most_common(1)[0][0] if known else None
    best = max(faces, key=lambda face: (score_of(face), face["_id"]))
    deciding = max(
        (face for face in faces if face.get("person_id") == person),
        key=lambda face: (score_of(face), face["_id"]),
    )
    moments = [face["timestamp"] for face in faces]
    co_visible = sorted({visit for face in faces for visit in co_visible_visits(face)})
    score = best.get("score")
    return {
        "owner": key.owner,
        "id": key.visit_id,
        "cam_id": key.cam_id,
        "start": min([*moments, *_times(faces, "visit_started_at")]),
        "end": max([*moments, *_times(faces, "visit_ended_at")]),
        "faces": len(faces),
        "best_face": best["_id"],
        "quality": None if score is None else float(score),
        "person_id": person,
        "persons": sorted(set(known)),
        "named": person in named,
        "friend": any(face.get("friend") is True for face in faces),
        "outcome": _text(deciding.get("person_outcome")),
        "confidence": _number(deciding.get("confidence")),
        "reason": _text(deciding.get("person_reason")),
        "co_visible": co_visible[:MAX_CO_VISIBLE],
    }


def _times(faces: Sequence[Mapping[str, Any]], name: str) -> list[datetime]:
    """The times that the pipeline recorded as text; malformed ones do not count."""
    found = []
    for face in faces:
        details = face.get("detector_info")
        text = details.get(name) if isinstance(details, Mapping) else None
        if not isinstance(text, str):
            continue
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            continue
        if moment.tzinfo is not None:
            found.append(moment)
    return found


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None

"""The face document of a sighting, and the result of storing it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipeline.faces.facen import encode, normalise
from pipeline.types import FaceAttributes, Rectangle, Sighting
from store.face import Face
from store.observer import PersonOutcome
from store.spool.codec import plain


@dataclass(frozen=True, slots=True)
class StoredSighting:
    """The result of storing a sighting."""

    sighting_id: str
    face_id: int
    cam_id: str
    visit_id: str
    captured_at: datetime
    """UTC."""
    media_time: float
    person_id: int | None
    person_name: str
    """Empty for a person without a name."""
    created: bool
    """Whether the person was created for this sighting."""
    outcome: PersonOutcome
    """Outcome of the recognition. A withheld or ambiguous face has no person yet."""
    friend: bool
    confidence: float | None
    """Confidence of the match, 0 to 1; None without one."""
    score: float
    """The quality score."""
    bbox: Rectangle
    photo: str
    normalized: str
    thumbnail: str
    """URL, as `photo` and `normalized`."""
    reason: str = ""
    """Why there is no person, in words; empty if there is one."""


def face_document(sighting_id: str, sighting: Sighting, photo_hash: str) -> dict[str, Any]:
    """The face document of a sighting, without the result of the recognition."""
    return {
        "sighting_id": sighting_id,
        "facen": encode(normalise(sighting.facen)),
        "bbox": sighting.bbox,
        "photo_hash": photo_hash,
        "meta": None,
        "score": sighting.score,
        "cam_id": sighting.cam_id,
        "timestamp": sighting.captured_at,
        "media_time": sighting.media_time,
        **_attributes(sighting.attributes),
        "detector_info": {
            **plain(sighting.detector_info),
            "visit_id": sighting.visit_id,
            "pack": sighting.pack,
            "shots": sighting.shots,
            "beside": list(sighting.co_visible),
        },
    }


def _attributes(attributes: FaceAttributes) -> dict[str, Any]:
    """The fields of known attributes; unknown ones are absent, as for an enrolled face."""
    emotions = attributes.emotions
    known = {
        "gender": attributes.gender,
        "age": attributes.age,
        "emotions": None if emotions is None else emotions.prevalent(),
    }
    return {name: value for name, value in known.items() if value is not None}


def stored_sighting(sighting_id: str, sighting: Sighting, face: Face, person_name: str) -> StoredSighting:
    """The result for a stored face."""
    return StoredSighting(
        sighting_id=sighting_id,
        face_id=face["_id"],
        cam_id=sighting.cam_id,
        visit_id=sighting.visit_id,
        captured_at=sighting.captured_at,
        media_time=sighting.media_time,
        person_id=face.get("person_id"),
        person_name=person_name,
        created=face.get("person_created") is True,
        outcome=face.get("person_outcome") or ("created" if face.get("person_created") else "matched"),
        friend=face.get("friend") is True,
        confidence=face.get("confidence"),
        score=sighting.score,
        bbox=sighting.bbox,
        photo=face["photo"],
        normalized=face["normalized"],
        thumbnail=face["thumbnail"],
        reason=reason if isinstance(reason := face.get("person_reason"), str) else "",
    )

"""Generated sightings: random facens for each person, and real encoded pictures."""

import functools
from datetime import UTC, datetime, timedelta

import cv2
import numpy as np

from pipeline.faces.facen import normalise
from pipeline.types import FaceAttributes, Facen, Rectangle, Sighting
from store.spool.recording import RecordingSettings
from store.spool.stored_sighting import StoredSighting

PACK = "opencv-zoo"
FACEN_SIZE = 128
RECORDING = RecordingSettings(PACK, FACEN_SIZE, threshold=0.8)
"""As a daemon with the default pack would have them."""
START = datetime(2026, 3, 2, 8, 0, 0, 123456, tzinfo=UTC)


def person_facen(person: int, look: int = 0, size: int = FACEN_SIZE) -> Facen:
    """The facen of a person; for a look other than 0 with a little noise (cosine > 0.98)."""
    base = normalise(np.random.default_rng(person).standard_normal(size).astype(np.float32))
    noise = np.random.default_rng((person, look, 7)).standard_normal(size).astype(np.float32)
    return normalise(base + np.float32(0.1) * normalise(noise)) if look else base


@functools.cache
def photo(shade: int = 120, width: int = 160, height: int = 120) -> bytes:
    """A JPEG of noise around one shade."""
    noise = np.random.default_rng(shade).integers(0, 60, (height, width, 3))
    return cv2.imencode(".jpg", (noise + shade).clip(0, 255).astype(np.uint8))[1].tobytes()


@functools.cache
def normalized(shade: int = 120) -> bytes:
    """A PNG of 112×112."""
    return cv2.imencode(".png", np.full((112, 112, 3), shade % 256, np.uint8))[1].tobytes()


def sighting(
    person: int = 1,
    look: int = 0,
    *,
    cam_id: str = "door",
    captured_at: datetime | None = None,
    score: float = -0.25,
    facen: Facen | None = None,
    photo_bytes: bytes | None = None,
    normalized_bytes: bytes | None = None,
    pack: str = PACK,
    bbox: Rectangle | None = None,
    visit_id: str | None = None,
    shots: int = 4,
    beside: tuple[str, ...] = (),
    attributes: FaceAttributes = FaceAttributes(),  # noqa: B008 - frozen
) -> Sighting:
    return Sighting(
        cam_id=cam_id,
        visit_id=visit_id or f"{cam_id}-{person}-{look}",
        captured_at=captured_at or START + timedelta(minutes=look, seconds=person),
        media_time=1.5 + look,
        bbox=bbox or Rectangle(-4.5, 10.25, 60.0, 90.0),
        score=score,
        facen=person_facen(person, look) if facen is None else facen,
        photo=photo(60 + person) if photo_bytes is None else photo_bytes,
        normalized=normalized(60 + person) if normalized_bytes is None else normalized_bytes,
        pack=pack,
        detector_info={
            "detector_score": np.float32(0.9),
            "landmarks": np.ones((5, 2), np.float32),
            "mode": "overall",
        },
        shots=shots,
        co_visible=beside,
        attributes=attributes,
    )


def assert_same(found: Sighting, expected: Sighting) -> None:
    """Every field is equal, the facen bit by bit; `detector_info` is compared by its keys only."""
    for name in (
        "cam_id",
        "visit_id",
        "captured_at",
        "media_time",
        "bbox",
        "score",
        "photo",
        "normalized",
        "pack",
        "shots",
        "co_visible",
        "attributes",
    ):
        assert getattr(found, name) == getattr(expected, name), name
    assert found.facen.dtype == np.float32
    assert np.array_equal(found.facen, expected.facen)
    assert set(found.detector_info) == set(expected.detector_info)


def stored_sighting(**changes: object) -> StoredSighting:
    """A stored sighting of person 7 in the hall, matched."""
    facts: dict[str, object] = {
        "sighting_id": "1",
        "face_id": 42,
        "cam_id": "hall",
        "visit_id": "v",
        "captured_at": datetime(2026, 3, 1, 12, 0, 5, tzinfo=UTC),
        "media_time": 5.0,
        "person_id": 7,
        "person_name": "",
        "created": False,
        "outcome": "matched",
        "friend": False,
        "confidence": 0.874,
        "score": -0.625,
        "bbox": Rectangle(0, 0, 1, 1),
        "photo": "",
        "normalized": "",
        "thumbnail": "https://pictures.example/a_thumb.jpeg",
    }
    return StoredSighting(**{**facts, **changes})  # type: ignore[arg-type]  # a test names the fields

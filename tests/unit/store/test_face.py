"""One face, two views."""

from datetime import UTC, datetime
from typing import Any

import pytest

from pipeline.types import Emotions, Rectangle
from store import Face, Faces
from store.errors import BadValueError
from store.face import check_face
from tests.facens import extraction_face, face, person_facen


def test_an_extraction_face_becomes_a_face() -> None:
    """Every key of the ExtractionFace is in the face, emotions as the two most prevalent."""
    eface = extraction_face(person_facen(1))
    eface["gender"], eface["age"] = "female", 31.5
    eface["emotions"] = Emotions(0.05, 0.0, 0.0, 0.6, 0.3, 0.05, 0.0)
    made = Faces.Model.from_extraction_face(eface)
    assert isinstance(made, Face)
    assert made["bbox"] == made.bbox == Rectangle(-3.5, 10.0, 96.25, 130.0)
    assert (made["x1"], made["y1"], made["x2"], made["y2"]) == (-3.5, 10.0, 96.25, 130.0)
    assert made["emotions"] == ("happy", "neutral")
    assert (made["gender"], made["age"], made["score"]) == ("female", 31.5, -0.25)
    assert made["photo_hash"] == eface["photo_hash"]
    assert made["facen"] == eface["facen"]
    assert made["normalized"] == made.normalized == b"\x89PNG aligned"
    assert made["timestamp"].tzinfo is not None


def test_the_names_of_the_face_object_reach_the_documents_fields() -> None:
    """id, bbox and galleries read and write _id, the four corners and gallery."""
    made = face(person_facen(1))
    made["id"], made["galleries"], made["bbox"] = 7, ["default"], (1, 2, 3, 4)
    assert (made["_id"], made["gallery"], made["x2"]) == (7, ["default"], 3.0)
    assert (made["id"], made["galleries"], made.get("id"), made.galleries) == (7, ["default"], 7, ["default"])
    assert "id" in made
    assert "bbox" in made
    assert "id" not in dict(made)
    assert made.get("nothing", 5) == 5
    with pytest.raises(KeyError):
        made["nothing"]


@pytest.mark.parametrize("key", ["id", "galleries", "bbox", "normalized"])
def test_the_other_names_can_be_taken_out_like_any_key(key: str) -> None:
    """pop, del and setdefault know them; afterwards the field itself is gone, too."""
    made = face(person_facen(1), _id=7, gallery=["default"])
    value = made[key]
    assert made.setdefault(key, None) == value
    assert made.pop(key) == value
    assert key not in made
    assert made.pop(key, "none") == "none"
    with pytest.raises(KeyError):
        made.pop(key)
    with pytest.raises(KeyError):
        del made[key]
    fields = {"id": "_id", "galleries": "gallery", "bbox": "x1"}
    assert fields.get(key, key) not in dict(made)
    made[key] = value
    del made[key]
    assert made.get(key) is None


def test_a_copy_has_everything_and_is_its_own() -> None:
    """The aligned face, too, which is no key of the dictionary."""
    made = face(person_facen(1), _id=7)
    twin = made.copy()
    assert type(twin) is Face
    assert twin == made
    assert twin.normalized == made.normalized
    twin["id"], twin.normalized = 8, None
    assert (made["id"], made.normalized) == (7, b"\x89PNG aligned")


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-03-01T12:00:00Z", datetime(2026, 3, 1, 12, tzinfo=UTC)),
        ("2026-03-01T12:00:00.250+02:00", datetime(2026, 3, 1, 10, 0, 0, 250_000, tzinfo=UTC)),
        ("2026-03-01T12:00", datetime(2026, 3, 1, 12, tzinfo=UTC)),
    ],
)
def test_a_timestamp_may_be_given_as_text(text: str, moment: datetime) -> None:
    """ISO 8601, as the face object has it, becomes a time; other text is refused."""
    made = face(person_facen(1), timestamp=text)
    assert made["timestamp"] == made.document()["timestamp"] == moment
    assert datetime.fromisoformat(made.as_object()["timestamp"]) == moment
    with pytest.raises(BadValueError, match="ISO 8601"):
        made["timestamp"] = "yesterday"


def test_the_aligned_picture_is_no_part_of_the_document() -> None:
    """PNG bytes stay beside the document; a URL is in it, and both can be there."""
    made = face(person_facen(1))
    assert "normalized" not in made.document()
    made["normalized"] = "file:///x_norm.png"
    assert made["normalized"] == made.document()["normalized"] == "file:///x_norm.png"
    assert made.normalized == b"\x89PNG aligned"


def test_the_face_object_has_the_promised_keys() -> None:
    """As an object the time is ISO 8601 text and the fields of MongoDB do not show."""
    moment = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
    made = face(
        person_facen(1), _id=5, gallery=["default"], timestamp=moment, meta="note", photo="file:///p.jpeg"
    )
    view = made.as_object()
    assert view["id"] == 5
    assert view["timestamp"] == "2026-03-01T12:00:00.250000+00:00"
    assert view["galleries"] == ["default"]
    assert set(view) == {
        *(
            "id",
            "bbox",
            "facen",
            "normalized",
            "score",
            "timestamp",
            "photo",
            "photo_hash",
            "meta",
            "galleries",
        )
    }


def test_times_are_stored_in_utc_with_milliseconds() -> None:
    """What MongoDB cannot keep is not pretended to be kept."""
    moment = datetime.fromisoformat("2026-03-01T12:00:00.123456+02:00")
    document = face(person_facen(1), timestamp=moment).document()
    assert document["timestamp"] == datetime(2026, 3, 1, 10, 0, 0, 123_000, tzinfo=UTC)


@pytest.mark.parametrize(
    "change",
    [
        {"_id": -1},
        {"_id": "7"},
        {"_id": 2**63},
        {"person_id": 1.5},
        {"facen": "not base64!"},
        {"facen": "AAAA"},
        {"facen": ""},
        {"facen": 5},
        {"facen": "AADAfw=="},  # NaN
        {"x1": float("nan")},
        {"x1": None},
        {"meta": 5},
    ],
)
def test_a_face_that_cannot_be_stored_is_named(change: dict[str, Any]) -> None:
    """Ids out of range, facens that are none, boxes without sides: one type of error."""
    made = face(person_facen(1))
    made.update(change)
    with pytest.raises(BadValueError):
        check_face(made, None)


def test_a_facen_of_another_model_is_refused() -> None:
    """The size of the pack's facens is known, and a face of another size does not get in."""
    with pytest.raises(BadValueError, match="512"):
        check_face(face(person_facen(1)), 512)
    check_face(face(person_facen(1)), 128)


@pytest.mark.parametrize("eface", [None, 5, {}, {"bbox": (1, 2, 3), "score": 0, "photo_hash": "x"}])
def test_what_is_no_extraction_face_is_refused(eface: Any) -> None:
    """A missing key or a malformed box is an error, not half a face."""
    with pytest.raises(BadValueError):
        Face.from_extraction_face(eface)

"""`Face`: the document and the face object."""

import copy
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from pipeline.types import Emotions, Rectangle
from store import Face, Faces
from store.errors import BadValueError
from store.face import check_face
from tests.facens import extraction_face, face, person_facen


def test_an_extraction_face_becomes_a_face() -> None:
    """It has every key of the ExtractionFace, with the two most prevalent emotions."""
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
    assert made.timestamp is not None and made.timestamp.tzinfo is not None
    assert made["timestamp"] == made.timestamp.isoformat()


def test_properties_of_the_face_object_access_the_documents_fields() -> None:
    """id, bbox and galleries read and write _id, the four corners and gallery."""
    made = face(person_facen(1))
    made["id"], made["galleries"], made["bbox"] = 7, ["default"], (1, 2, 3, 4)
    assert (made["_id"], made["gallery"], made["x2"]) == (7, ["default"], 3.0)
    assert (made["id"], made["galleries"], made.get("id"), made.galleries) == (7, ["default"], 7, ["default"])
    assert "id" in made
    assert "bbox" in made
    assert {"id", "bbox", "galleries"} <= set(made)
    assert not {"_id", "gallery", "x1"} & set(made)
    assert {"_id", "gallery", "x1"} <= set(made.document())
    assert made.get("nothing", 5) == 5
    with pytest.raises(KeyError):
        made["nothing"]


@pytest.mark.parametrize("key", ["id", "galleries", "bbox", "normalized"])
def test_properties_can_be_popped_and_deleted(key: str) -> None:
    """pop, del and setdefault accept them, and remove the field."""
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
    assert not {key, fields.get(key, key)} & {*made, *made.document()}
    made[key] = value
    del made[key]
    assert made.get(key) is None


def test_a_copy_is_complete_and_independent() -> None:
    """Including the PNG bytes of the aligned face, which are no key of the dictionary."""
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
    """ISO 8601 text becomes a time; other text is refused."""
    made = face(person_facen(1), timestamp=text)
    assert made.timestamp == made.document()["timestamp"] == moment
    assert datetime.fromisoformat(made["timestamp"]) == moment
    with pytest.raises(BadValueError, match="ISO 8601"):
        made["timestamp"] = "yesterday"


def test_the_aligned_picture_is_no_part_of_the_document() -> None:
    """The document has no PNG bytes, but may have their URL."""
    made = face(person_facen(1))
    assert "normalized" not in made.document()
    made["normalized"] = "file:///x_norm.png"
    assert made["normalized"] == made.document()["normalized"] == "file:///x_norm.png"
    assert made.normalized == b"\x89PNG aligned"


def test_a_face_is_a_dictionary_of_the_face_object() -> None:
    """Iteration, keys, values, items, len, `dict`, `**`, JSON and reversed have each value once."""
    moment = datetime(2026, 3, 1, 12, tzinfo=UTC)
    made = Face.wrapping(
        {"_id": 5, "owner": "o", "x1": 1.0, "y1": 2.0, "x2": 3.0, "y2": 4.0, "gallery": ["default"]}
        | {"timestamp": moment, "emotions": ["happy", "sad"], "cam_id": "door", "normalized": "file:///n.png"}
    )
    expected = {
        "id": 5,
        "owner": "o",
        "bbox": Rectangle(1.0, 2.0, 3.0, 4.0),
        "galleries": ["default"],
        "timestamp": "2026-03-01T12:00:00+00:00",
        "emotions": ("happy", "sad"),
        "cam_id": "door",
        "normalized": "file:///n.png",
    }
    assert dict(made) == {**made} == dict(made.items()) == expected
    assert list(made) == list(made.keys()) == list(expected)
    assert list(made.values()) == list(expected.values())
    assert list(reversed(made)) == list(reversed(expected))
    assert len(made) == len(made.keys()) == len(expected)
    assert json.loads(json.dumps(made)) == json.loads(json.dumps(expected))
    assert made == expected == made
    assert (made != expected) is False
    assert all(key in made for key in (*expected, "_id", "gallery", "x1", "y2"))


@pytest.mark.parametrize("twin", [Face.copy, copy.copy, copy.deepcopy, dict, Face])
def test_a_face_made_from_a_face_is_equal(twin: Callable[[Face], Any]) -> None:
    """By copying or through a dictionary, including an aligned face that is not uploaded yet."""
    made = face(person_facen(1), _id=7, photo="file:///p.jpeg")
    other = Face(twin(made))
    assert other == made == dict(other)
    assert other.document() == made.document()
    assert other.normalized == b"\x89PNG aligned"
    other["meta"] = "another"
    assert other != made


def test_dictionary_methods_use_the_face_objects_keys() -> None:
    """popitem, move_to_end, clear and |= have the keys of the iteration."""
    made = Face.wrapping({"_id": 5, "x1": 1.0, "y1": 2.0, "x2": 3.0, "y2": 4.0, "meta": None})
    made.move_to_end("id")
    assert list(made) == ["bbox", "meta", "id"]
    made.move_to_end("bbox")
    assert made.popitem() == ("bbox", Rectangle(1.0, 2.0, 3.0, 4.0))
    assert made.popitem(last=False) == ("meta", None)
    made |= {"galleries": ["a"]}
    made["normalized"] = b"\x89PNG"
    assert made == {"id": 5, "galleries": ["a"], "normalized": b"\x89PNG"}
    assert "PNG" not in repr(made)
    made.clear()
    assert (list(made), len(made), made.normalized, made.document()) == ([], 0, None, {})
    with pytest.raises(KeyError):
        made.popitem()


def test_the_aligned_face_stays_bytes_until_it_is_uploaded() -> None:
    """A URL known before the upload is only in the document."""
    made = face(person_facen(1))
    made.link({"normalized": "file:///n.png"})
    assert made["normalized"] == b"\x89PNG aligned"
    assert made.document()["normalized"] == "file:///n.png"
    made.mark_uploaded()
    assert (made["normalized"], made.normalized) == ("file:///n.png", b"\x89PNG aligned")
    made["normalized"] = b"\x89PNG other"
    assert made["normalized"] == made.normalized == b"\x89PNG other"


def test_incomplete_documents_keep_their_fields() -> None:
    """Without all four corners there is no bbox, and the existing corners keep their names."""
    made = Face.wrapping({"_id": 5, "x1": 1.0, "y2": 4.0, "timestamp": 5})
    assert dict(made) == {"id": 5, "x1": 1.0, "y2": 4.0, "timestamp": 5}
    assert "bbox" not in made
    assert (made.bbox, made.timestamp) == (None, None)
    for key in ("bbox", "galleries", "gallery", "normalized"):
        with pytest.raises(KeyError, match=key):
            made[key]


def test_the_face_object_has_the_promised_keys() -> None:
    """`as_object` has ISO 8601 text as the time, and no fields of MongoDB."""
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
    """A face has the precision of MongoDB before it is stored."""
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
def test_check_face_names_what_cannot_be_stored(change: dict[str, Any]) -> None:
    """Ids out of range, invalid facens, boxes without sides: one type of error."""
    made = face(person_facen(1))
    made.update(change)
    with pytest.raises(BadValueError):
        check_face(made, None)


def test_a_facen_of_another_model_is_refused() -> None:
    """By the size of the pack's facens."""
    with pytest.raises(BadValueError, match="512"):
        check_face(face(person_facen(1)), 512)
    check_face(face(person_facen(1)), 128)


@pytest.mark.parametrize("eface", [None, 5, {}, {"bbox": (1, 2, 3), "score": 0, "photo_hash": "x"}])
def test_refuses_invalid_extraction_faces(eface: Any) -> None:
    """A missing key or a malformed box is an error."""
    with pytest.raises(BadValueError):
        Face.from_extraction_face(eface)

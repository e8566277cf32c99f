"""The shapes of documents, and the faults of malformed ones."""

from datetime import UTC, datetime
from typing import Any

import pytest
from bson import Decimal128, Int64, ObjectId
from bson.datetime_ms import DatetimeMS

from store.face import Face
from store.mongo.shapes import SHAPES, fault, malformed, well_formed

OWNER = ObjectId()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"_id": ObjectId()}, "its _id is of the type ObjectId; expected a whole number from 0"),
        ({"_id": "abc"}, "its _id is text"),
        ({"_id": 5.0}, "its _id is 5.0"),
        ({"_id": True}, "its _id is True"),
        ({"_id": -1}, "its _id is -1"),
        ({"owner": "me"}, "its owner is text; expected an ObjectId"),
        ({"owner": None}, "its owner is null"),
        ({"gallery": 5}, "its gallery is 5; expected a list of names"),
        ({"gallery": None}, "its gallery is null; expected a list of names"),
        ({"gallery": "default"}, "its gallery is text"),
        ({"gallery": ["default", 5]}, "its gallery is a list; expected a list of names"),
        ({"facen": b"xx"}, "its facen is of the type bytes; expected text"),
        ({"detector_info": "x"}, "its detector_info is text; expected a mapping"),
        ({"detector_info": {"pack": ["x"]}}, "expected a mapping with text as its pack"),
        ({"person_id": 1.5}, "its person_id is 1.5"),
        ({"person_changes": [1, "x"]}, "its person_changes is a list"),
        ({"timestamp": "2026-03-01"}, "its timestamp is text"),
        ({"timestamp": DatetimeMS(2**60)}, "expected a time in the years 1 to 9999"),
        ({"score": Decimal128("1")}, "its score is of the type Decimal128; expected a number"),
        ({"x1": "left"}, "its x1 is text; expected a number"),
        ({"photo": 5}, "its photo is 5; expected text"),
        ({"schema": "1"}, "its schema is text; expected a version number"),
        ({"schema": float("nan")}, "its schema is nan"),
        ({"bbox": [1, 2, 3, 4]}, "it has a field bbox, which only the face object has"),
    ],
)
def test_a_fault_names_the_field_and_the_type(fields: dict[str, Any], said: str) -> None:
    """And the expected type, but never text of the document, which may be a name."""
    assert said in fault("faces", {"_id": 7, "owner": OWNER, **fields})


def test_a_missing_field_is_named() -> None:
    """Only if readers require it."""
    assert fault("faces", {"_id": 7}) == "it has no owner; expected an ObjectId"
    assert fault("users", {"_id": ObjectId()}) == "it has no token; expected text"
    assert fault("galleries", {"owner": OWNER}) == "it has no name; expected text"


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"facen": None, "person_id": None, "timestamp": None, "score": None},
        {"gallery": [], "person_id": Int64(5), "timestamp": datetime(2026, 3, 1, tzinfo=UTC), "score": 1},
        {"meta": {"any": "thing"}, "age": "old", "of a plugin": [b"x"]},
    ],
)
def test_optional_and_additional_fields_are_well_formed(fields: dict[str, Any]) -> None:
    """Additional fields of plugins are not checked."""
    assert fault("faces", {"_id": Int64(7), "owner": OWNER, **fields}) == ""


def test_a_face_as_the_store_writes_it_is_well_formed() -> None:
    """Keys of the face object are no fields of it."""
    face = Face(_id=7, owner=OWNER, gallery=["default"], score=-1.0, x1=1.0, y1=2.0, x2=3.0, y2=4.0)
    assert fault("faces", dict(face.document())) == ""


def test_a_collection_without_a_shape_takes_anything() -> None:
    assert well_formed("somebody's own") == {} and fault("somebody's own", {"_id": 5}) == ""


def test_shapes_are_queries_for_mongodb() -> None:
    """And the negation finds malformed documents."""
    for name in SHAPES:
        assert malformed(name) == {"$nor": [well_formed(name)]} and "$jsonSchema" in well_formed(name)

"""What plugins may answer with, as JSON."""

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from bson import ObjectId
from pydantic import SecretStr

from daemon.plugins.jsonable import encode
from pipeline.types import Emotions, Rectangle
from store import IdentifyResult, IdentifyResults, Person, User
from tests.facens import extraction_face, face, person_facen

ID = ObjectId("65f000000000000000000001")
MOMENT = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ({"id": ID, "at": MOMENT}, {"id": str(ID), "at": "2026-03-01T12:00:00.250000+00:00"}),
        (Rectangle(-1.5, 2, 3, 4), [-1.5, 2, 3, 4]),
        (
            Emotions(0.5, 0, 0, 0.5, 0, 0, 0),
            {**dict.fromkeys(Emotions._fields, 0), "angry": 0.5, "happy": 0.5},
        ),
        ([np.float32(0.5), np.int64(2**62), np.bool_(True)], [0.5, 2**62, True]),
        (np.array([[1, 2], [3, 4]], np.uint8), [[1, 2], [3, 4]]),
        ((1, {2}, Path("/x/y")), [1, [2], "/x/y"]),
        ([float("nan"), float("inf"), np.float32("nan")], [None, None, None]),
        ({"png": b"\x89P", 7: "seven"}, {"png": "iVA=", "7": "seven"}),
        (SecretStr("hidden"), "***"),
        ("Grüße \ud800", "Grüße ?"),
        (Person({"_id": 7, "owner": ID}), {"_id": 7, "owner": str(ID)}),
    ],
)
def test_values_of_the_context_have_a_json_form(value, expected):
    """Ids, times, boxes, arrays, numbers that are none, bytes and models go out as plain JSON."""
    assert json.loads(encode(value)) == expected


def test_a_face_goes_out_as_the_face_object_and_what_else_is_known():
    """The promised keys, person and camera; the store's own fields do not show."""
    made = face(person_facen(1), _id=5, gallery=["default"], person_id=3, cam_id="door", timestamp=MOMENT)
    made.update({"owner": ID, "schema": 1, "sighting_id": "s", "annotations": {"p": {"n": np.int64(1)}}})
    shown = json.loads(encode(made))
    assert shown["id"] == 5
    assert shown["bbox"] == [-3.5, 10.0, 96.25, 130.0]
    assert shown["galleries"] == ["default"]
    assert (shown["person_id"], shown["cam_id"], shown["owner"]) == (3, "door", str(ID))
    assert shown["timestamp"] == MOMENT.isoformat()
    assert shown["annotations"] == {"p": {"n": 1}}
    assert not {"_id", "x1", "gallery", "schema", "sighting_id"} & shown.keys()


def test_results_of_a_search_and_extracted_faces_go_out_whole():
    """A list of IdentifyResult is a list of objects; an extracted face's PNG is base64."""
    results = IdentifyResults([IdentifyResult(face(person_facen(1), _id=5), 0.875)])
    (shown,) = json.loads(encode(results))
    assert (shown["face"]["id"], shown["confidence"]) == (5, 0.875)
    eface = json.loads(encode(extraction_face(person_facen(1))))
    assert eface["normalized"] == "iVBORyBhbGlnbmVk"


def test_a_users_token_never_goes_out():
    """A user in an answer, however deep, is shown without the token."""
    text = encode([{"user": User({"_id": ID, "token": "hush-hush", "active": True})}]).decode()
    assert "hush" not in text
    assert '"active": true' in text


@pytest.mark.parametrize("value", [object(), {"x": object()}, {(1, 2): 3}, lambda: 1])
def test_what_has_no_json_form_is_named(value):
    """The error names the type."""
    with pytest.raises(TypeError, match=r"object|tuple|function"):
        encode(value)

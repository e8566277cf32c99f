"""The file format of sightings, through versions."""

import hashlib

import bson
import pytest

from pipeline.types import Emotions, FaceAttributes
from store.errors import MalformedSightingError
from store.spool.codec import _FIXED, decode, encode
from tests.sightings import assert_same, sighting

EMOTIONS = Emotions(0.1, 0.0, 0.0, 0.7, 0.15, 0.05, 0.0)


def changed(data: bytes, **fields: object) -> bytes:
    """The file with other fields in its body; None takes one out."""
    magic, version, head_length, _, _ = _FIXED.unpack_from(data)
    head = data[_FIXED.size : _FIXED.size + head_length]
    document = bson.decode(data[_FIXED.size + head_length :]) | fields
    body = bson.encode({key: value for key, value in document.items() if value is not None})
    digest = hashlib.sha256(head + body).digest()
    return _FIXED.pack(magic, version, len(head), len(body), digest) + head + body


def test_encodes_shots_and_co_visible_visits() -> None:
    """The evidence for the recognition is decoded unchanged."""
    seen = sighting(1, shots=3, beside=("door-2-0", "door-3-0"))
    assert_same(decode(encode(seen)), seen)


@pytest.mark.parametrize(
    "attributes", [FaceAttributes(), FaceAttributes("female"), FaceAttributes("male", 41.5, EMOTIONS)]
)
def test_encodes_attributes(attributes: FaceAttributes) -> None:
    """Known ones bit by bit; unknown ones stay unknown."""
    seen = sighting(1, attributes=attributes)
    assert_same(decode(encode(seen)), seen)


def test_decodes_files_of_earlier_versions() -> None:
    """Sightings that waited during an upgrade have one shot, no co-visible visits, and no attributes."""
    new = sighting(1, shots=3, beside=("x",), attributes=FaceAttributes("male", 41.5, EMOTIONS))
    old = decode(changed(encode(new), shots=None, beside=None, attributes=None))
    assert (old.shots, old.co_visible, old.attributes) == (1, (), FaceAttributes())
    assert old.visit_id == "door-1-0"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"shots": "three"}, "shots"),
        ({"beside": "x"}, "beside"),
        ({"beside": [1]}, "beside"),
        ({"attributes": 5}, "attributes"),
        ({"attributes": {"gender": "other"}}, "gender"),
        ({"attributes": {"age": "old"}}, "age"),
        ({"attributes": {"age": float("nan")}}, "age"),
        ({"attributes": {"emotions": [0.5, 0.5]}}, "emotions"),
        ({"attributes": {"emotions": [float("inf")] * 7}}, "emotions"),
    ],
)
def test_malformed_files_are_refused_with_a_reason(fields: dict[str, object], reason: str) -> None:
    """Such as files written by other programs."""
    with pytest.raises(MalformedSightingError, match=reason):
        decode(changed(encode(sighting(1)), **fields))

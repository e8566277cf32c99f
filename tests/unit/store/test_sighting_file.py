"""Sightings as bytes, through versions."""

import hashlib

import bson
import pytest

from store.errors import MalformedSightingError
from store.sighting_file import _FIXED, decode, encode
from tests.sightings import assert_same, sighting


def changed(data: bytes, **fields: object) -> bytes:
    """The file with other fields in its body; None takes one out."""
    magic, version, head_length, _, _ = _FIXED.unpack_from(data)
    head = data[_FIXED.size : _FIXED.size + head_length]
    document = bson.decode(data[_FIXED.size + head_length :]) | fields
    body = bson.encode({key: value for key, value in document.items() if value is not None})
    digest = hashlib.sha256(head + body).digest()
    return _FIXED.pack(magic, version, len(head), len(body), digest) + head + body


def test_shots_and_those_beside_survive() -> None:
    """What the recorder decides by comes out as it went in."""
    seen = sighting(1, shots=3, beside=("door-2-0", "door-3-0"))
    assert_same(decode(encode(seen)), seen)


def test_a_file_of_an_earlier_version_has_one_shot_and_nobody_beside() -> None:
    """Sightings that waited in the spool through an upgrade are stored; they claim no more than they know."""
    old = decode(changed(encode(sighting(1, shots=3, beside=("x",))), shots=None, beside=None))
    assert (old.shots, old.beside) == (1, ())
    assert old.visit_id == "door-1-0"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [({"shots": "three"}, "shots"), ({"beside": "x"}, "beside"), ({"beside": [1]}, "beside")],
)
def test_malformed_ones_are_named(fields: dict[str, object], reason: str) -> None:
    """A file that somebody else wrote is put aside with its reason."""
    with pytest.raises(MalformedSightingError, match=reason):
        decode(changed(encode(sighting(1)), **fields))

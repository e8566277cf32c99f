"""The file format of a sighting in the spool.

A fixed header (magic, version, lengths, sha256) is followed by two BSON documents: a small one, which the
spool reads without the pictures, and the sighting. The sha256 covers both, so that a torn, changed or foreign
file is detected. Times are microseconds since 1970 UTC, because BSON's times only have milliseconds.

Files of earlier versions lack `shots`, `beside` and `attributes`; defaults are one shot, no co-visible visits
and no attributes.
"""

import hashlib
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import bson
import numpy as np
from bson.errors import BSONError

from pipeline.base.files import open_regular
from pipeline.types import Emotions, FaceAttributes, Rectangle, Sighting
from store.errors import MalformedSightingError

_MAGIC = b"FACENDSG"
_VERSION = 1
_FIXED = struct.Struct("<8sHIQ32s")
_MAX_HEAD_BYTES = 4096
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Head:
    """The part of a sighting that the spool reads without the pictures."""

    cam_id: str
    score: float
    """The quality score."""
    size: int
    """Bytes of the whole file."""


def encode(sighting: Sighting) -> bytes:
    """The bytes of the file.

    Raises:
        ValueError: the time has no zone, or BSON cannot encode detector_info.
    """
    if sighting.captured_at.tzinfo is None:
        raise ValueError("a sighting's captured_at needs a time zone (UTC)")
    head = bson.encode({"cam_id": sighting.cam_id, "score": float(sighting.score)})
    try:
        body = bson.encode(
            {
                "cam_id": sighting.cam_id,
                "visit_id": sighting.visit_id,
                "captured_us": (sighting.captured_at - _EPOCH) // timedelta(microseconds=1),
                "media_time": float(sighting.media_time),
                "bbox": [float(side) for side in sighting.bbox],
                "score": float(sighting.score),
                "facen": np.asarray(sighting.facen, dtype="<f4").tobytes(),
                "photo": bytes(sighting.photo),
                "normalized": bytes(sighting.normalized),
                "pack": sighting.pack,
                "detector_info": plain(sighting.detector_info),
                "shots": int(sighting.shots),
                "beside": list(sighting.co_visible),
                "attributes": _attributes_document(sighting.attributes),
            }
        )
    except (BSONError, OverflowError) as error:
        raise ValueError(f"a sighting's detector_info cannot be stored: {error}") from error
    digest = hashlib.sha256(head + body).digest()
    return _FIXED.pack(_MAGIC, _VERSION, len(head), len(body), digest) + head + body


def read_head(path: Path) -> Head:
    """Read the head of a file, and check the file's length.

    Raises:
        MalformedSightingError: the file is damaged.
        OSError: it cannot be read.
    """
    with open_regular(path) as file:
        start = file.read(_FIXED.size + _MAX_HEAD_BYTES)
    head_length, body_length, _ = _unpack(start)
    size = _FIXED.size + head_length + body_length
    found = path.stat().st_size
    if found != size:
        raise MalformedSightingError(f"it has {found} bytes instead of {size}")
    document = _document(start[_FIXED.size : _FIXED.size + head_length])
    return Head(_text(document, "cam_id"), _number(document, "score"), size)


def decode(data: bytes) -> Sighting:
    """The inverse of `encode`. MalformedSightingError names the damage."""
    head_length, body_length, digest = _unpack(data)
    rest = data[_FIXED.size :]
    if len(rest) != head_length + body_length:
        raise MalformedSightingError(f"it has {len(rest)} bytes instead of {head_length + body_length}")
    if hashlib.sha256(rest).digest() != digest:
        raise MalformedSightingError("its sha256 does not match")
    document = _document(rest[head_length:])
    facen = _field(document, "facen", bytes)
    if not facen or len(facen) % 4:
        raise MalformedSightingError(f"its facen has {len(facen)} bytes, not a multiple of float32")
    bbox = _field(document, "bbox", list)
    if len(bbox) != 4 or not all(isinstance(side, float) for side in bbox):
        raise MalformedSightingError(f"its bbox is {bbox!r:.80}, not four numbers")
    try:
        captured_at = _EPOCH + timedelta(microseconds=_field(document, "captured_us", int))
    except OverflowError as error:
        raise MalformedSightingError("its capture time is out of range") from error
    return Sighting(
        cam_id=_text(document, "cam_id"),
        visit_id=_text(document, "visit_id"),
        captured_at=captured_at,
        media_time=_number(document, "media_time"),
        bbox=Rectangle(*bbox),
        score=_number(document, "score"),
        facen=np.frombuffer(facen, dtype="<f4").astype(np.float32),
        photo=_field(document, "photo", bytes),
        normalized=_field(document, "normalized", bytes),
        pack=_text(document, "pack"),
        detector_info=_field(document, "detector_info", dict),
        shots=_field({"shots": 1, **document}, "shots", int),
        co_visible=_texts({"beside": [], **document}, "beside"),
        attributes=_attributes(_field({"attributes": {}, **document}, "attributes", dict)),
    )


def _attributes_document(attributes: FaceAttributes) -> dict[str, Any]:
    """The known attributes."""
    emotions = attributes.emotions
    known = {
        "gender": attributes.gender,
        "age": None if attributes.age is None else float(attributes.age),
        "emotions": None if emotions is None else [float(probability) for probability in emotions],
    }
    return {name: value for name, value in known.items() if value is not None}


def _attributes(document: Mapping[str, Any]) -> FaceAttributes:
    gender, emotions = document.get("gender"), document.get("emotions")
    if gender not in (None, "male", "female"):
        raise MalformedSightingError(f"its gender is {gender!r:.80}, not male or female")
    if emotions is not None and not (
        isinstance(emotions, list)
        and len(emotions) == len(Emotions._fields)
        and all(isinstance(probability, float) and math.isfinite(probability) for probability in emotions)
    ):
        raise MalformedSightingError(
            f"its emotions are {emotions!r:.80}, not {len(Emotions._fields)} numbers"
        )
    return FaceAttributes(
        gender,
        None if document.get("age") is None else _number(document, "age"),
        None if emotions is None else Emotions(*emotions),
    )


def plain(value: Any) -> Any:  # noqa: ANN401 - details are free-form: numbers, strings, lists, mappings
    """The value with numpy numbers and arrays converted to Python types, for BSON."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(inner) for inner in value]
    return value


def _unpack(data: bytes) -> tuple[int, int, bytes]:
    if len(data) < _FIXED.size:
        raise MalformedSightingError(f"it has {len(data)} bytes, fewer than a head")
    magic, version, head_length, body_length, digest = _FIXED.unpack_from(data)
    if magic != _MAGIC:
        raise MalformedSightingError("it does not begin with the magic of a sighting")
    if version != _VERSION:
        raise MalformedSightingError(f"it has version {version}, this program reads version {_VERSION}")
    if head_length > _MAX_HEAD_BYTES:
        raise MalformedSightingError(f"its head has {head_length} bytes, more than {_MAX_HEAD_BYTES}")
    return head_length, body_length, digest


def _document(data: bytes) -> dict[str, Any]:
    try:
        return bson.decode(data)
    except (BSONError, UnicodeDecodeError, ValueError, OverflowError) as error:
        raise MalformedSightingError(f"its BSON cannot be read: {error}") from error


def _field(document: Mapping[str, Any], name: str, kind: type[_Value]) -> _Value:
    value = document.get(name)
    if not isinstance(value, kind):
        raise MalformedSightingError(f"its {name} is {type(value).__name__}, not {kind.__name__}")
    return value


def _text(document: Mapping[str, Any], name: str) -> str:
    return _field(document, name, str)


def _texts(document: Mapping[str, Any], name: str) -> tuple[str, ...]:
    values = _field(document, name, list)
    if not all(isinstance(value, str) for value in values):
        raise MalformedSightingError(f"its {name} is {values!r:.80}, not a list of text")
    return tuple(values)


def _number(document: Mapping[str, Any], name: str) -> float:
    value = _field(document, name, float)
    if not math.isfinite(value):
        raise MalformedSightingError(f"its {name} is not finite")
    return value

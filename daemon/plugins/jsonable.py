"""Converts values of the context to JSON: ids, times, boxes, faces and arrays, also inside containers."""

import base64
import dataclasses
import json
import math
from collections.abc import Mapping
from datetime import date, datetime
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
from bson import ObjectId
from pydantic import BaseModel, SecretStr

from pipeline.types import Rectangle
from store import Face, User

_NOT_SHOWN = frozenset({"schema", "sighting_id"})
"""Internal fields of a face's document."""


def encode(value: object) -> bytes:
    """The value as JSON in UTF-8.

    Raises:
        TypeError: a type has no JSON form.
    """
    return json.dumps(plain(value), ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")


def plain(value: object) -> Any:  # noqa: ANN401 - JSON's values
    """The value as dictionaries, lists, text and numbers.

    A Rectangle becomes [left, top, right, bottom], any other named tuple an object, bytes base64, NaN and
    infinity null. A face has the keys of the face object and its other fields; a user has no token.
    """
    if value is None or isinstance(value, str | bool | int):
        return value.value if isinstance(value, Enum) else value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_key(key): plain(part) for key, part in _shown(value).items()}
    if isinstance(value, tuple) and hasattr(value, "_asdict") and not isinstance(value, Rectangle):
        return plain(value._asdict())
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(part) for part in value]
    return _plain_object(value)


def _plain_object(value: object) -> Any:  # noqa: ANN401 - JSON's values
    if isinstance(value, ObjectId | Path | UUID):
        return str(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic | Enum):
        return plain(value.item() if isinstance(value, np.generic) else value.value)
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, SecretStr):
        return "***"
    if isinstance(value, BaseModel):
        return plain(value.model_dump())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _shown(mapping: Mapping[Any, Any]) -> Mapping[Any, Any]:
    if isinstance(mapping, Face):
        return mapping.as_object() | {key: mapping[key] for key in mapping if key not in _NOT_SHOWN}
    if isinstance(mapping, User):
        return {key: part for key, part in mapping.items() if key != "token"}
    return mapping


def _key(key: object) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, int | float | ObjectId | datetime | date | UUID):
        return str(key)
    raise TypeError(f"{type(key).__name__} cannot be a key of a JSON object")

"""The fields of a stored face: checks of their values, conversion from the face object, and typed access."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pipeline.faces.facen import FacenError, decode
from pipeline.types import Facen, Rectangle
from store.errors import BadFilterError, BadValueError
from store.mongo.guard import LOGICAL, MAX_DEPTH, checked_id

ALIASES = {"id": "_id", "galleries": "gallery"}
"""Keys of the face object, and the document's fields for them. `bbox` has four fields, CORNERS."""
TEXTUAL = frozenset({"$type", "$regex", "$options"})
"""Operators whose text operand is not a time."""
CORNERS = ("x1", "y1", "x2", "y2")
_NUMBER = ((int, float, type(None)), "a number")
_TEXT = ((str, type(None)), "text or None")
FIELDS: Mapping[str, tuple[tuple[type, ...], str]] = {
    "meta": _TEXT,
    "gender": ((str, type(None)), "'male', 'female' or None"),
    "emotions": ((list, tuple, type(None)), "a tuple of names"),
    "cam_id": _TEXT,
    "photo_hash": _TEXT,
    "score": _NUMBER,
    "age": _NUMBER,
    "media_time": _NUMBER,
    "timestamp": ((datetime, type(None)), "a time"),
    "friend": ((bool, type(None)), "True, False or None"),
    **dict.fromkeys(("detector_info", "picture_locations"), ((Mapping, type(None)), "a mapping")),
    "sighting_id": _TEXT,
    **dict.fromkeys(("photo", "thumbnail"), _TEXT),
    "normalized": ((str, bytes, type(None)), "text, PNG bytes or None"),
    **dict.fromkeys(CORNERS, _NUMBER),
}
"""Allowed types of a face's fields, and how errors describe them. A value of None means unknown."""
PLAIN_UPDATES = frozenset({"$set", "$min", "$max", "$inc", "$mul"})
"""Operators whose argument has the type of the resulting value."""


def check_fields(fields: Mapping[str, Any]) -> None:
    """BadValueError if a field of a face has an invalid value."""
    for key, (allowed, expected) in FIELDS.items():
        value = fields.get(key)
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            raise BadValueError(f"a face's {key} is {expected}, not {value!r:.80}")
        if isinstance(value, float) and not math.isfinite(value):
            raise BadValueError(f"a face's {key} is a finite number, not {value}")
    details = fields.get("detector_info")
    if isinstance(details, Mapping) and not isinstance(details.get("pack"), str | None):
        raise BadValueError(f"a face's detector_info has text as its pack, not {details['pack']!r:.80}")
    if fields.get("person_id") is not None:
        checked_id(fields["person_id"], "person")


def check_changes(update: Mapping[str, Mapping[str, Any]]) -> None:
    """BadValueError or BadFilterError if an update that passed the guard could make a field invalid."""
    for operator, fields in update.items():
        if operator in PLAIN_UPDATES:
            check_fields(fields)
        paths = {*fields, *fields.values()} if operator == "$rename" else {*fields}
        for path in paths:
            first, *rest = path.split(".")
            typed = first in FIELDS or first == "person_id"
            if typed and (rest or operator not in {*PLAIN_UPDATES, "$unset"}):
                raise BadFilterError(f"the field {first} of a face is changed by $set, not by {operator}")


def stored_filters(filters: object, depth: int = 0) -> Any:  # noqa: ANN401  invalid filters are left to the guard
    """Convert filters on properties of the face object to filters on fields of the document.

    `id` and `galleries` become `_id` and `gallery`, and ISO 8601 text compared with a timestamp becomes a
    time.

    Raises:
        BadFilterError: the filter is on `bbox`, which MongoDB stores as four numbers.
    """
    if not isinstance(filters, Mapping) or depth > MAX_DEPTH:
        return filters
    stored: dict[Any, Any] = {}
    for key, value in filters.items():
        if key in LOGICAL and isinstance(value, (list, tuple)):
            stored[key] = [stored_filters(part, depth + 1) for part in value]
        else:
            field = stored_field(key)
            stored[field] = _as_time(value, depth + 1) if field == "timestamp" else value
    return stored


def stored_field(key: object) -> object:
    """The field or path in the document of a property of the face object."""
    if not isinstance(key, str):
        return key
    first, dot, rest = str(key).partition(".")  # bson.Code is a str that is not hashable
    if first == "bbox":
        raise BadFilterError("a face's bbox is stored as x1, y1, x2 and y2; filter or sort by these")
    return f"{ALIASES.get(first, first)}{dot}{rest}"


def stored_sort(sort: object) -> Any:  # noqa: ANN401  an invalid sort is left to the guard
    """Convert a sort by properties of the face object to one by fields of the document."""
    if isinstance(sort, str):
        return stored_field(sort)
    if isinstance(sort, Mapping):
        return {stored_field(key): direction for key, direction in sort.items()}
    if isinstance(sort, (list, tuple)):
        return [
            (stored_field(pair[0]), *pair[1:]) if isinstance(pair, (list, tuple)) and pair else pair
            for pair in sort
        ]
    return sort


def stored_options(options: Mapping[str, object]) -> dict[str, object]:
    """Convert properties of the face object in an update's options to fields of the document."""
    stored = dict(options)
    if "hint" in stored and not isinstance(stored["hint"], str):
        stored["hint"] = stored_sort(stored["hint"])
    projection = stored.get("projection")
    if isinstance(projection, Mapping):
        pairs = [(field, shown) for key, shown in projection.items() for field in _stored_fields(key)]
        stored["projection"] = dict(pairs)
    elif isinstance(projection, (list, tuple, set, frozenset)):
        stored["projection"] = [field for key in projection for field in _stored_fields(key)]
    return stored


def stored_update(update: object) -> object:
    """Convert an update `{property: value}` of the face object to fields of the document. An update with
    operators is kept."""
    if not isinstance(update, Mapping) or any(str(key).startswith("$") for key in update):
        return update
    fields: dict[Any, Any] = {}
    for key, value in update.items():
        if key == "bbox":
            fields |= zip(CORNERS, checked_bbox(value), strict=True)
        else:
            fields[key] = parse_timestamp(value) if key == "timestamp" and isinstance(value, str) else value
    return fields


def _stored_fields(key: object) -> Sequence[object]:
    return CORNERS if key == "bbox" else (stored_field(key),)


def parse_timestamp(text: str) -> datetime:
    """The time of ISO 8601 text. Without a zone it is UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadValueError(f"a face's timestamp is a time or ISO 8601 text, not {text!r:.80}") from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _as_time(value: object, depth: int) -> object:
    """A condition on a time, with text converted to times."""
    if depth > MAX_DEPTH:
        return value
    if isinstance(value, str):
        return parse_timestamp(value)
    if isinstance(value, Mapping):
        return {key: part if key in TEXTUAL else _as_time(part, depth + 1) for key, part in value.items()}
    return [_as_time(part, depth + 1) for part in value] if isinstance(value, (list, tuple)) else value


def facen_of(face: Mapping[str, Any], size: int | None = None) -> Facen:
    """The normalised facen of a face or extraction face. BadValueError without a valid facen of this size."""
    if not isinstance(face, Mapping):
        raise BadValueError(f"a face is a mapping with a facen, not {type(face).__name__}")
    text = face.get("facen")
    if text is None:
        raise BadValueError("this face has no facen; extract it first")
    try:
        return decode(text, size)
    except FacenError as error:
        raise BadValueError(str(error)) from error


def usable_facen(face: Mapping[str, Any], size: int | None = None) -> Facen | None:
    """The facen of a stored face; None if it is missing or invalid."""
    try:
        return facen_of(face, size)
    except BadValueError:
        return None


def visit_of(face: Mapping[str, Any]) -> str | None:
    """The id of a stored face's visit, or None."""
    visit = _details(face).get("visit_id")
    return visit if isinstance(visit, str) and visit else None


def co_visible_visits(face: Mapping[str, Any]) -> list[str]:
    """The ids of visits that were co-visible with a stored face's visit."""
    visits = _details(face).get("beside")
    return [visit for visit in visits if isinstance(visit, str)] if isinstance(visits, (list, tuple)) else []


def score_of(face: Mapping[str, Any]) -> float:
    """The quality score of a stored face; −∞ without one."""
    score = face.get("score")
    if not isinstance(score, (int, float)) or isinstance(score, bool) or math.isnan(score):
        return -math.inf
    return float(score)


def _details(face: Mapping[str, Any]) -> Mapping[str, Any]:
    details = face.get("detector_info")
    return details if isinstance(details, Mapping) else {}


def checked_bbox(value: object) -> Rectangle:
    """Left, top, right and bottom as finite numbers."""
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)) and len(value) == 4:
        sides = [
            float(side) for side in value if isinstance(side, (int, float)) and not isinstance(side, bool)
        ]
        if len(sides) == 4 and all(map(math.isfinite, sides)):
            return Rectangle(*sides)
    raise BadValueError(f"a bbox is left, top, right and bottom as finite numbers, not {value!r:.80}")

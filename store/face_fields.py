"""What the fields of a stored face may hold, whether they come with the face or by an update."""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from store.errors import BadFilterError, BadValueError
from store.guard import checked_id

CORNERS = ("x1", "y1", "x2", "y2")
_NUMBER = ((int, float, type(None)), "a number")
_TEXT = ((str, type(None)), "text or None")
FIELDS: Mapping[str, tuple[tuple[type, ...], str]] = {
    "meta": _TEXT,
    "cam_id": _TEXT,
    "photo_hash": _TEXT,
    "score": _NUMBER,
    "age": _NUMBER,
    "media_time": _NUMBER,
    "timestamp": ((datetime, type(None)), "a time"),
    "friend": ((bool, type(None)), "True, False or None"),
    "detector_info": ((Mapping, type(None)), "a mapping"),
    "sighting_id": _TEXT,
    **dict.fromkeys(("photo", "thumbnail"), _TEXT),
    "normalized": ((str, bytes, type(None)), "text, PNG bytes or None"),
    **dict.fromkeys(CORNERS, _NUMBER),
}
"""What these fields of a face may hold; None stands for not known."""
PLAIN_UPDATES = frozenset({"$set", "$min", "$max", "$inc", "$mul"})
"""The operators whose argument says what kind of value the field will have."""


def check_fields(fields: Mapping[str, Any]) -> None:
    """BadValueError where one of these fields of a face, if it is there, has a value that it cannot have."""
    for key, (allowed, expected) in FIELDS.items():
        value = fields.get(key)
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            raise BadValueError(f"a face's {key} is {expected}, not {value!r:.80}")
        if isinstance(value, float) and not math.isfinite(value):
            raise BadValueError(f"a face's {key} is a finite number, not {value}")
    if fields.get("person_id") is not None:
        checked_id(fields["person_id"], "person")


def check_changes(update: Mapping[str, Mapping[str, Any]]) -> None:
    """BadValueError where an update, which has passed the guard, would make such a field something else."""
    for operator, fields in update.items():
        if operator in PLAIN_UPDATES:
            check_fields(fields)
        reached = {*fields, *fields.values()} if operator == "$rename" else {*fields}
        for path in reached:
            first, *rest = path.split(".")
            typed = first in FIELDS or first == "person_id"
            if typed and (rest or operator not in {*PLAIN_UPDATES, "$unset"}):
                raise BadFilterError(f"the field {first} of a face is changed by $set, not by {operator}")

"""Documents: their models, and checks of the values that MongoDB stores."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from bson import Code, DBRef, ObjectId

from store.errors import BadValueError
from store.mongo.guard import MAX_DEPTH, checked_label

SCHEMA = 1
"""Schema version of new documents; `store.mongo.migrations` migrates older ones."""


class Model(OrderedDict[str, Any]):
    """A document of MongoDB, as an ordered dictionary."""


PLAIN = frozenset({str, int, float, bool, type(None), ObjectId})
"""Types that MongoDB stores unchanged."""


def storable(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document as MongoDB returns it: times in UTC, in milliseconds.

    Raises:
        BadValueError: a field name is invalid or an operator; the nesting is too deep; or a value is code, a
            reference or a UUID.
    """
    return _storable_fields(document, 0)


def _storable_fields(document: Mapping[str, Any], depth: int) -> dict[str, Any]:
    return {_checked_name(key): _storable(value, depth + 1) for key, value in document.items()}


def _storable(value: object, depth: int) -> object:
    if depth > MAX_DEPTH:
        raise BadValueError(f"a value is nested deeper than {MAX_DEPTH} levels")
    if type(value) in PLAIN:
        return value
    if isinstance(value, (UUID, Code, DBRef)):
        raise BadValueError(f"a value of the type {type(value).__name__} is not stored; pass text instead")
    if isinstance(value, datetime):
        # A time without zone is UTC, as for the driver.
        try:
            moment = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        except OverflowError as error:
            raise BadValueError(f"the time {value} lies outside the years 1 to 9999 of UTC") from error
        return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    if isinstance(value, Mapping):
        return _storable_fields(value, depth)
    if isinstance(value, (list, tuple)):
        return [_storable(part, depth + 1) for part in value]
    return value


def _checked_name(key: object) -> str:
    if not isinstance(key, str) or not key or key.startswith("$") or "\0" in key or "." in key:
        raise BadValueError(
            f"{key!r:.80} cannot be the name of a field: non-empty text without '.', NUL and a leading '$'"
        )
    return key


def checked_mapping(value: object, what: str, known: Iterable[str] = ()) -> dict[str, Any]:
    """A checked copy of the data of a new object."""
    if not isinstance(value, Mapping):
        fields = f" such as {', '.join(known)}" if known else ""
        raise BadValueError(f"a {what} is a mapping of fields{fields}, not {type(value).__name__}")
    if value.get("name") is not None:
        checked_label(value["name"], f"the name of a {what}")
    return storable(value)

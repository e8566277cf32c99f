"""Keyword arguments of the driver that updates accept."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pymongo.collation import Collation

from store.errors import BadFilterError
from store.mongo.guard import check_extent, check_literal, checked_filters, checked_sort, field_or_operator

OPTIONS = ("array_filters", "collation", "comment", "hint", "projection", "upsert")
"""Options that affect only the documents selected by the filters."""


def checked_options(kwargs: Mapping[str, object], always_read: Iterable[str]) -> dict[str, Any]:
    """The options for PyMongo, without those that are None.

    Args:
        always_read: fields that a projection always includes.

    Raises:
        BadFilterError: an option is unknown or malformed.
    """
    if unknown := sorted(set(kwargs) - set(OPTIONS)):
        raise BadFilterError(f"an update has no option {', '.join(unknown)}; it accepts {', '.join(OPTIONS)}")
    check: dict[str, Callable[[Any], object]] = {
        "array_filters": _array_filters,
        "collation": _collation,
        "comment": _comment,
        "hint": _hint,
        "projection": lambda value: _projection(value, frozenset(always_read)),
        "upsert": _upsert,
    }
    return {name: check[name](value) for name, value in kwargs.items() if value is not None}


def equalities(query: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that an upsert with this query sets in a new document: those compared by equality."""
    fields: dict[str, Any] = {}
    for key, value in query.items():
        if key == "$and" or (key == "$or" and len(value) == 1):
            for part in value:
                fields |= equalities(part)
        elif key.startswith("$"):
            continue
        elif not isinstance(value, Mapping) or not any(str(name).startswith("$") for name in value):
            fields[key] = value
        elif "$eq" in value:
            fields[key] = value["$eq"]
    return fields


def _array_filters(value: object) -> list[dict[str, Any]]:
    if not isinstance(value, (list, tuple)):
        raise BadFilterError(f"array_filters is a list of filters, not {type(value).__name__}")
    check_extent(value, "array_filters")
    return [checked_filters(filters) for filters in value]


def _comment(value: object) -> object:
    check_literal(value, 0)
    return value


def _upsert(value: object) -> bool:
    if not isinstance(value, bool):
        raise BadFilterError(f"upsert is True or False, not {value!r:.80}")
    return value


def _collation(value: object) -> Collation:
    if isinstance(value, Collation):
        return value
    if not isinstance(value, Mapping):
        raise BadFilterError(
            f"a collation is a mapping such as {{'locale': 'de'}}, not {type(value).__name__}"
        )
    try:
        return Collation(**value)
    except (TypeError, ValueError) as error:
        raise BadFilterError(f"{dict(value)!r:.80} is not a collation: {error}") from error


def _hint(value: object) -> str | list[tuple[str, int]]:
    if isinstance(value, str):
        return field_or_operator(value)
    if not isinstance(value, (list, tuple, Mapping)) or not value:
        raise BadFilterError(
            f"a hint is the name of an index or its pairs of field and direction, not {value!r:.80}"
        )
    return checked_sort(value) or []


def _projection(value: object, always_read: frozenset[str]) -> dict[str, bool] | None:
    """The fields to return, including `always_read`; None for all."""
    if isinstance(value, (list, tuple, set, frozenset)):
        fields = {field_or_operator(field): True for field in value}
    elif isinstance(value, Mapping):
        fields = {field_or_operator(field): _included(field, included) for field, included in value.items()}
    else:
        raise BadFilterError(f"a projection is a list or a mapping of fields, not {type(value).__name__}")
    check_extent(fields, "a projection")
    if any(field.startswith("$") or ".$" in field for field in fields):
        raise BadFilterError("a projection names fields, not operators")
    chosen = {field: included for field, included in fields.items() if field not in always_read}
    kinds = set(chosen.values()) or {included for field, included in fields.items() if field != "_id"}
    if len(kinds) > 1:
        raise BadFilterError("a projection includes fields or excludes fields, not both")
    if False in kinds or (not kinds and False in fields.values()):
        return chosen or None
    return dict.fromkeys(always_read, True) | chosen


def _included(field: object, included: object) -> bool:
    if isinstance(included, (bool, int)) and included in (0, 1):
        return bool(included)
    raise BadFilterError(f"the projection of {field!r:.80} is 1 or 0, not {included!r:.80}")

"""Checks updates: only known operators are allowed, and no change of a document's owner."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from store.errors import BadFilterError
from store.mongo.guard import (
    COMPARISONS,
    NESTED,
    check_condition,
    check_extent,
    check_literal,
    check_query,
    field_or_operator,
)

OPERATORS = frozenset(
    {
        *("$set", "$unset", "$inc", "$mul", "$min", "$max", "$rename", "$currentDate", "$bit"),
        *("$push", "$pull", "$pullAll", "$addToSet", "$pop"),
    }
)
MODIFIERS = frozenset({"$each", "$position", "$slice", "$sort"})
POSITION = re.compile(r"\$|\$\[[a-z][A-Za-z0-9]*\]|\$\[\]")
"""Positional operators: `$` for the first match, `$[name]` for an array filter, `$[]` for all items."""
PROTECTED = frozenset({"_id", "owner", "schema"})


def checked_update(
    update: object, protected: Iterable[str] = (), set_whole: Iterable[str] = ()
) -> dict[str, Any]:
    """A checked copy of an update with operators.

    Args:
        protected: fields that must not be changed, in addition to `_id`, `owner` and `schema`.
        set_whole: fields that only `$set` and `$unset` may change, as a whole.

    Raises:
        BadFilterError: the update is empty or a pipeline, mixes properties and operators, or has an operator
            or field that is not allowed.
    """
    if not isinstance(update, Mapping) or not update:
        raise BadFilterError(
            "an update is a mapping of properties and values, or of operators such as {'$set': {…}}; "
            f"not {'empty' if isinstance(update, Mapping) else type(update).__name__}"
        )
    check_extent(update, "an update")
    forbidden, whole_only = PROTECTED.union(protected), frozenset(set_whole)
    for operator, fields in update.items():
        if operator not in OPERATORS:
            raise BadFilterError(f"{operator!r} is not allowed in an update; use operators such as $set")
        if not isinstance(fields, Mapping) or not fields:
            raise BadFilterError(f"{operator} takes a non-empty mapping of fields")
        for path, value in fields.items():
            _check_path(path, forbidden)
            _check_whole(path, whole_only, operator)
            if operator == "$rename":
                _check_path(value, forbidden)
                _check_whole(value, whole_only, operator)
            elif operator == "$pull":
                _check_pull(value)
            else:
                _check_new_value(operator, value)
    return dict(update)


def with_operators(update: object) -> object:
    """The update with operators: `{property: value}` becomes `{"$set": {property: value}}`.

    Raises:
        BadFilterError: properties and operators are mixed.
    """
    if not isinstance(update, Mapping):
        return update
    operators = [key for key in update if isinstance(key, str) and key.startswith("$")]
    if not operators:
        return {"$set": dict(update)} if update else update
    if len(operators) < len(update):
        plain = next(key for key in update if key not in operators)
        raise BadFilterError(
            f"an update has properties or operators, not both; put {plain!r:.80} into a $set"
        )
    return update


def _check_path(path: object, forbidden: frozenset[str]) -> None:
    first, *inside = field_or_operator(path).split(".")
    if first in forbidden:
        raise BadFilterError(f"the field {first} cannot be changed by an update")
    if first.startswith("$") or any(part.startswith("$") and not POSITION.fullmatch(part) for part in inside):
        raise BadFilterError(f"{path!r} is not a field")


def _check_whole(path: str, whole_only: frozenset[str], operator: str) -> None:
    first, *inside = path.split(".")
    if first in whole_only and (inside or operator not in {"$set", "$unset"}):
        raise BadFilterError(
            f"the field {first} is set as a whole by $set, not by {operator} of {path!r:.80}"
        )


def _check_pull(value: object) -> None:
    if isinstance(value, Mapping):
        if any(str(key) in COMPARISONS | NESTED for key in value):
            check_condition(value, 1)
        else:
            check_query(value, 1)
    else:
        check_literal(value, 1)


def _check_new_value(operator: str, value: object) -> None:
    if operator in {"$push", "$addToSet"} and isinstance(value, Mapping) and "$each" in value:
        for modifier, argument in value.items():
            if modifier not in MODIFIERS:
                raise BadFilterError(f"the operator {modifier} is not allowed in {operator}")
            check_literal(argument, 2)
    elif operator == "$currentDate" and isinstance(value, Mapping):
        if value not in ({"$type": "date"}, {"$type": "timestamp"}):
            raise BadFilterError("$currentDate takes True, {'$type': 'date'} or {'$type': 'timestamp'}")
    else:
        check_literal(value, 1)

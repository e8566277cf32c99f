"""What a caller may ask of MongoDB, and the owner's fence around it.

Only operators that are known to look at the document and nothing else pass: there is no way
to run code on the server (`$where`, `$function`, `$accumulator`, `$expr`), to reach another
collection, or to change whose a document is.
"""

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from bson import Code, DBRef, Regex

from store.errors import BadFilterError, BadValueError

Filters = Mapping[str, Any]
Sort = Mapping[str, int] | Sequence[tuple[str, int]] | str

LOGICAL = frozenset({"$and", "$or", "$nor"})
COMPARISONS = frozenset(
    {
        *(
            "$eq",
            "$ne",
            "$gt",
            "$gte",
            "$lt",
            "$lte",
            "$in",
            "$nin",
            "$all",
            "$size",
            "$exists",
            "$type",
            "$mod",
        ),
        *("$regex", "$options", "$bitsAllSet", "$bitsAnySet", "$bitsAllClear", "$bitsAnyClear"),
    }
)
NESTED = frozenset({"$not", "$elemMatch"})
LISTS = frozenset({"$in", "$nin", "$all"})
UPDATES = frozenset(
    {
        *("$set", "$unset", "$inc", "$mul", "$min", "$max", "$rename", "$currentDate", "$bit"),
        *("$push", "$pull", "$pullAll", "$addToSet", "$pop"),
    }
)
MODIFIERS = frozenset({"$each", "$position", "$slice", "$sort"})
PROTECTED = frozenset({"_id", "owner", "schema"})
MAX_DEPTH = 32
MAX_LIMIT = 2**31 - 1
MAX_ID = 2**63 - 1
MAX_LABEL = 256


def checked_filters(filters: Filters | None) -> dict[str, Any]:
    """The filters as a query, {} for None. BadFilterError where anything in them is not allowed."""
    if filters is None:
        return {}
    _check_query(filters, 0)
    return dict(filters)


def owned(filters: Filters | None, owner: object) -> dict[str, Any]:
    """The filters and the owner: whatever the filters say, nothing of another owner passes."""
    query = checked_filters(filters)
    return {"$and": [{"owner": owner}, query]} if query else {"owner": owner}


def _check_query(query: object, depth: int) -> None:
    if not isinstance(query, Mapping):
        raise BadFilterError(f"filters are a mapping of fields and conditions, not {type(query).__name__}")
    if depth > MAX_DEPTH:
        raise BadFilterError(f"filters are nested deeper than {MAX_DEPTH} levels")
    for key, value in query.items():
        name = _field_or_operator(key)
        if name in LOGICAL:
            if not isinstance(value, (list, tuple)) or not value:
                raise BadFilterError(f"{name} takes a list of filters that is not empty")
            for part in value:
                _check_query(part, depth + 1)
        elif name.startswith("$"):
            raise BadFilterError(f"the operator {name} is not allowed in filters")
        else:
            _check_condition(value, depth + 1)


def _check_condition(value: object, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise BadFilterError(f"filters are nested deeper than {MAX_DEPTH} levels")
    if not (
        isinstance(value, Mapping) and any(isinstance(key, str) and key.startswith("$") for key in value)
    ):
        _check_literal(value, depth)
        return
    for key, argument in value.items():
        name = _field_or_operator(key)
        if name in NESTED:
            _check_nested(name, argument, depth)
        elif name in COMPARISONS:
            if name in LISTS and not isinstance(argument, (list, tuple)):
                raise BadFilterError(f"{name} takes a list, not {type(argument).__name__}")
            if name == "$all" and any(
                isinstance(part, Mapping) and "$elemMatch" in part for part in argument
            ):
                for part in argument:
                    _check_condition(part, depth + 1)
            else:
                _check_literal(argument, depth + 1)
        else:
            raise BadFilterError(f"the operator {name} is not allowed in filters")


def _check_nested(name: str, argument: object, depth: int) -> None:
    if name == "$not" and isinstance(argument, (re.Pattern, Regex)):
        return
    if not isinstance(argument, Mapping) or not argument:
        raise BadFilterError(f"{name} takes a mapping that is not empty")
    if any(str(key) in COMPARISONS | NESTED for key in argument):
        _check_condition(argument, depth + 1)
    elif name == "$not":
        raise BadFilterError("$not takes operators such as {'$gt': 5}, or a regular expression")
    else:
        _check_query(argument, depth + 1)


def _check_literal(value: object, depth: int) -> None:
    """A value to compare with or to store: data only, no operators and no code."""
    if depth > MAX_DEPTH:
        raise BadFilterError(f"a value is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, (Code, DBRef, UUID)):
        raise BadFilterError(f"values of the type {type(value).__name__} are not allowed")
    if isinstance(value, Mapping):
        for key, part in value.items():
            if _field_or_operator(key).startswith("$"):
                raise BadFilterError(f"the operator {key} is not allowed here")
            _check_literal(part, depth + 1)
    elif isinstance(value, (list, tuple)):
        for part in value:
            _check_literal(part, depth + 1)
    elif isinstance(value, int) and not -(2**63) <= value <= MAX_ID:
        raise BadFilterError(f"{value} is out of range; whole numbers lie in −2^63 … 2^63 − 1")


def _field_or_operator(key: object) -> str:
    if not isinstance(key, str):
        raise BadFilterError(f"a field's name is text, not {type(key).__name__}")
    if not key or "\0" in key:
        raise BadFilterError("a field's name is not empty and has no zero character")
    return str(key)  # MongoDB's own types of text are no plain text


def checked_update(update: object, protected: Iterable[str] = ()) -> dict[str, Any]:
    """The update, which touches neither `_id` nor `owner` nor `schema` nor the other protected fields.

    Raises:
        BadFilterError: the update is a pipeline or a whole document, has an operator that is not
            allowed, or touches a protected field by any operator.
    """
    if not isinstance(update, Mapping) or not update:
        raise BadFilterError(
            "an update is a mapping of operators such as {'$set': {…}}, not empty and no pipeline"
        )
    guarded = PROTECTED.union(protected)
    for operator, fields in update.items():
        if operator not in UPDATES:
            raise BadFilterError(f"{operator!r} is not allowed in an update; use $set and its kin")
        if not isinstance(fields, Mapping) or not fields:
            raise BadFilterError(f"{operator} takes a mapping of fields that is not empty")
        for path, value in fields.items():
            _check_path(path, guarded)
            if operator == "$rename":
                _check_path(value, guarded)
            elif operator == "$pull":
                _check_pull(value)
            else:
                _check_new_value(operator, value)
    return dict(update)


def _check_path(path: object, guarded: frozenset[str]) -> None:
    first = _field_or_operator(path).split(".", 1)[0]
    if first in guarded:
        raise BadFilterError(f"the field {first} cannot be changed by an update")
    if first.startswith("$"):
        raise BadFilterError(f"{path!r} is no field")


def _check_pull(value: object) -> None:
    if isinstance(value, Mapping):
        if any(str(key) in COMPARISONS | NESTED for key in value):
            _check_condition(value, 1)
        else:
            _check_query(value, 1)
    else:
        _check_literal(value, 1)


def _check_new_value(operator: str, value: object) -> None:
    if operator in {"$push", "$addToSet"} and isinstance(value, Mapping) and "$each" in value:
        for modifier, argument in value.items():
            if modifier not in MODIFIERS:
                raise BadFilterError(f"the operator {modifier} is not allowed in {operator}")
            _check_literal(argument, 2)
    elif operator == "$currentDate" and isinstance(value, Mapping):
        if value not in ({"$type": "date"}, {"$type": "timestamp"}):
            raise BadFilterError("$currentDate takes True, {'$type': 'date'} or {'$type': 'timestamp'}")
    else:
        _check_literal(value, 1)


def checked_sort(sort: Sort | None) -> list[tuple[str, int]] | None:
    """The sort as pairs of field and direction (1 or −1); None for none."""
    if sort is None:
        return None
    if isinstance(sort, str):
        pairs: list[Any] = [(sort, 1)]
    elif isinstance(sort, Mapping):
        pairs = list(sort.items())
    elif isinstance(sort, (list, tuple)):
        pairs = [*sort]
    else:
        raise BadFilterError(f"a sort is a mapping such as {{'timestamp': -1}}, not {type(sort).__name__}")
    checked = []
    for pair in pairs:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise BadFilterError("a sort is made of pairs of a field and a direction")
        field, direction = pair
        name = _field_or_operator(field)
        if name.startswith("$"):
            raise BadFilterError(f"{field!r:.80} is no field to sort by")
        if not isinstance(direction, (int, float)) or isinstance(direction, bool) or direction not in (1, -1):
            raise BadFilterError(f"the direction of a sort is 1 or -1, not {direction!r:.80}")
        checked.append((name, int(direction)))
    return checked or None


def checked_skip(skip: int | None) -> int:
    if skip is None:
        return 0
    return _whole_number("skip", skip, 0, MAX_LIMIT)


def checked_limit(limit: int | None) -> int:
    """The limit as MongoDB takes it: 0 for none."""
    return 0 if limit is None else _whole_number("limit", limit, 1, MAX_LIMIT)


def _whole_number(name: str, value: object, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise BadFilterError(f"{name} is a whole number from {low} to {high}, not {value!r:.80}")
    return value


def checked_id(value: object, what: str) -> int:
    """An id of a face or person: uint64 below 2^63, because BSON's whole numbers have a sign."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_ID:
        raise BadValueError(f"the id of a {what} is a whole number from 0 to 2^63 − 1, not {value!r:.80}")
    return int(value)


def checked_label(value: object, what: str) -> str:
    """A name for people to read, such as a person's: text without control characters."""
    if isinstance(value, str) and 1 <= len(value) <= MAX_LABEL:
        if not any(unicodedata.category(sign) in {"Cc", "Cs"} for sign in value):
            return value
        raise BadValueError(f"{what} has no control characters; {value!r:.80} has some")
    raise BadValueError(f"{what} is text of 1 to {MAX_LABEL} characters, not {value!r:.80}")


def checked_threshold(value: object) -> float:
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not math.isfinite(value)
        or not 0 <= value <= 1
    ):
        raise BadValueError(f"a threshold is a confidence from 0 to 1, not {value!r:.80}")
    return float(value)

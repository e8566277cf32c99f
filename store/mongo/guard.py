"""Checks filters and sorts from callers, and limits them to the owner's documents.

Only operators that evaluate the document itself are allowed. Operators that run code on the server (`$where`,
`$function`, `$accumulator`, `$expr`) or reach other collections are refused. `store.mongo.update_guard`
checks updates.
"""

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
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
MAX_DEPTH = 32
MAX_PARTS = 1000
"""Maximum number of filters in one `$and`, `$or`, `$nor` or `$all`: each is compared with every document."""
MAX_VALUES = 100_000
"""Maximum number of values in a `$in` or `$nin`."""
MAX_PATTERN = 4096
"""Maximum length of a regular expression."""
MAX_NAMES = 2000
"""Maximum number of fields and operators in a query or an update. MongoDB parses it before its time limit
starts, which takes a minute for 100,000."""
MAX_PATTERNS = 10
"""Maximum number of regular expressions in a query or an update. MongoDB checks its time limit between
documents, but not while it compiles patterns or matches them against one document."""
MAX_LIMIT = 2**31 - 1
MAX_ID = 2**63 - 1
MAX_LABEL = 256


def checked_filters(filters: Filters | None) -> dict[str, Any]:
    """The filters as a query; {} for None. BadFilterError if an operator or value is not allowed."""
    if filters is None:
        return {}
    check_query(filters, 0)
    check_extent(filters, "filters")
    return dict(filters)


def owned(filters: Filters | None, owner: object) -> dict[str, Any]:
    """A query for the owner's documents that pass the filters. Filters cannot replace the owner."""
    query = checked_filters(filters)
    return {"$and": [{"owner": owner}, query]} if query else {"owner": owner}


def check_extent(part: object, what: str) -> None:
    """BadFilterError if filters or an update have more names or patterns than MongoDB parses quickly."""
    names = patterns = 0
    pending = [part]
    while pending:
        inner = pending.pop()
        if isinstance(inner, Mapping):
            names += len(inner)
            patterns += "$regex" in inner
            pending.extend(inner.values())
        elif isinstance(inner, (list, tuple)):
            pending.extend(inner)
        else:
            patterns += isinstance(inner, (re.Pattern, Regex))
    if names > MAX_NAMES:
        raise BadFilterError(f"{what} with {names} fields and operators; the limit is {MAX_NAMES}")
    if patterns > MAX_PATTERNS:
        raise BadFilterError(f"{what} with {patterns} regular expressions; the limit is {MAX_PATTERNS}")


def check_query(query: object, depth: int) -> None:
    """Raises BadFilterError if these filters, at this level of nesting, are not allowed."""
    if not isinstance(query, Mapping):
        raise BadFilterError(f"filters are a mapping of fields and conditions, not {type(query).__name__}")
    if depth > MAX_DEPTH:
        raise BadFilterError(f"filters are nested deeper than {MAX_DEPTH} levels")
    for key, value in query.items():
        name = field_or_operator(key)
        if name in LOGICAL:
            if not isinstance(value, (list, tuple)) or not value:
                raise BadFilterError(f"{name} takes a non-empty list of filters")
            _check_length(name, value, MAX_PARTS)
            for part in value:
                check_query(part, depth + 1)
        elif name.startswith("$"):
            raise BadFilterError(f"the operator {name} is not allowed in filters")
        else:
            check_condition(value, depth + 1)


def check_condition(value: object, depth: int) -> None:
    """BadFilterError unless `value` is a valid condition on a field: a value, or allowed operators."""
    if depth > MAX_DEPTH:
        raise BadFilterError(f"filters are nested deeper than {MAX_DEPTH} levels")
    if not (
        isinstance(value, Mapping) and any(isinstance(key, str) and key.startswith("$") for key in value)
    ):
        check_literal(value, depth)
        return
    for key, argument in value.items():
        name = field_or_operator(key)
        if name in NESTED:
            _check_nested(name, argument, depth)
        elif name in COMPARISONS:
            _check_size(name, argument)
            if name == "$all" and any(
                isinstance(part, Mapping) and "$elemMatch" in part for part in argument
            ):
                for part in argument:
                    check_condition(part, depth + 1)
            else:
                check_literal(argument, depth + 1)
        else:
            raise BadFilterError(f"the operator {name} is not allowed in filters")


def _check_size(name: str, argument: object) -> None:
    if name in LISTS:
        if not isinstance(argument, (list, tuple)):
            raise BadFilterError(f"{name} takes a list, not {type(argument).__name__}")
        _check_length(name, argument, MAX_PARTS if name == "$all" else MAX_VALUES)
    elif name == "$regex" and isinstance(argument, str):
        _check_pattern(argument)


def _check_length(name: str, parts: Sequence[object], maximum: int) -> None:
    if len(parts) > maximum:
        raise BadFilterError(f"{name} has {len(parts)} parts; the limit is {maximum}")


def _check_pattern(pattern: str | bytes) -> None:
    if len(pattern) > MAX_PATTERN:
        raise BadFilterError(f"a regular expression has at most {MAX_PATTERN} characters")


def _check_nested(name: str, argument: object, depth: int) -> None:
    if name == "$not" and isinstance(argument, (re.Pattern, Regex)):
        check_literal(argument, depth)
        return
    if not isinstance(argument, Mapping) or not argument:
        raise BadFilterError(f"{name} takes a non-empty mapping")
    if any(str(key) in COMPARISONS | NESTED for key in argument):
        check_condition(argument, depth + 1)
    elif name == "$not":
        raise BadFilterError("$not takes operators such as {'$gt': 5}, or a regular expression")
    else:
        check_query(argument, depth + 1)


def check_literal(value: object, depth: int) -> None:
    """BadFilterError unless `value` is plain data to compare or store, without operators and code."""
    if depth > MAX_DEPTH:
        raise BadFilterError(f"a value is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, (Code, DBRef, UUID)):
        raise BadFilterError(f"values of the type {type(value).__name__} are not allowed")
    if isinstance(value, (re.Pattern, Regex)):
        _check_pattern(value.pattern)
    if isinstance(value, Mapping):
        for key, part in value.items():
            if field_or_operator(key).startswith("$"):
                raise BadFilterError(f"the operator {key} is not allowed here")
            check_literal(part, depth + 1)
    elif isinstance(value, (list, tuple)):
        for part in value:
            check_literal(part, depth + 1)
    elif isinstance(value, int) and not -(2**63) <= value <= MAX_ID:
        raise BadFilterError(f"{value} is out of range; whole numbers are from −2^63 to 2^63 − 1")


def field_or_operator(key: object) -> str:
    """The key as a plain str. BadFilterError if it is not a valid name."""
    if not isinstance(key, str):
        raise BadFilterError(f"a field's name is text, not {type(key).__name__}")
    if not key or "\0" in key:
        raise BadFilterError("a field's name is not empty and has no NUL character")
    return str(key)  # without bson's subclasses of str


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
            raise BadFilterError("a sort consists of pairs of field and direction")
        field, direction = pair
        name = field_or_operator(field)
        if name.startswith("$"):
            raise BadFilterError(f"{field!r:.80} is not a field to sort by")
        if not isinstance(direction, (int, float)) or isinstance(direction, bool) or direction not in (1, -1):
            raise BadFilterError(f"the direction of a sort is 1 or -1, not {direction!r:.80}")
        checked.append((name, int(direction)))
    return checked or None


def checked_skip(skip: int | None) -> int:
    if skip is None:
        return 0
    return _whole_number("skip", skip, 0, MAX_LIMIT)


def checked_limit(limit: int | None) -> int:
    """The limit for MongoDB: 0 for None."""
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
    """A display name, such as a person's: text without control characters."""
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

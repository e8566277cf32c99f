"""Checks of filters, updates, sorts and limits."""

import re
from typing import Any

import pytest
from bson import Code, ObjectId, Regex
from hypothesis import given
from hypothesis import strategies as st

from store.errors import BadFilterError, BadValueError
from store.mongo.guard import (
    checked_filters,
    checked_id,
    checked_limit,
    checked_skip,
    checked_sort,
    checked_threshold,
    owned,
)
from store.mongo.update_guard import checked_update
from store.mongo.update_options import checked_options


@pytest.mark.parametrize(
    "filters",
    [
        None,
        {},
        {"meta": "x"},
        {"meta": None, "score": {"$gt": -1, "$lte": 0}},
        {"$or": [{"a": 1}, {"$and": [{"b": {"$in": [1, 2]}}, {"c": {"$exists": True}}]}]},
        {"gallery": {"$elemMatch": {"$eq": "default"}}},
        {"parts": {"$elemMatch": {"name": "blur", "value": {"$lt": 1}}}},
        {"meta": {"$not": re.compile("^vip")}},
        {"meta": {"$not": {"$eq": "vip"}}},
        {"detector_info": {"mode": "overall"}},
        {"tags": {"$all": [{"$elemMatch": {"$gt": 1}}]}},
    ],
)
def test_ordinary_filters_pass_unchanged(filters: dict[str, Any] | None) -> None:
    """Every operator that evaluates the document itself is allowed, at any depth."""
    assert checked_filters(filters) == (filters or {})


@pytest.mark.parametrize(
    "filters",
    [
        {"$where": "true"},
        {"$expr": {"$eq": ["$owner", "$owner"]}},
        {"$or": [{"a": 1}, {"$where": "true"}]},
        {"a": {"$not": {"$where": "true"}}},
        {"a": {"$elemMatch": {"$where": "true"}}},
        {"a": {"$elemMatch": {"$or": [{"$expr": {"$function": {"body": "f", "args": [], "lang": "js"}}}]}}},
        {"a": {"b": {"$where": "true"}}},
        {"a": {"$in": [{"$function": 1}]}},
        {"a": {"$eq": Code("true")}},
        {"a": Code("true")},
        {"$jsonSchema": {"required": ["a"]}},
        {"$text": {"$search": "x"}},
        {"a": {"$near": [1, 2]}},
        {"$and": []},
        {"$and": {"a": 1}},
        {"$nor": [1]},
        {"": 1},
        {"a\0": 1},
        {1: 1},
        {"a": {"$in": 5}},
        {"a": {"$gt": 1, "b": 2}},
        {"a": {"$not": 5}},
        {"a": 2**63},
        [("a", 1)],
        "a",
        5,
    ],
)
def test_refuses_filters_that_do_more_than_compare(filters: Any) -> None:
    """Code on the server, unknown operators, malformed logic, and anything but a mapping."""
    with pytest.raises(BadFilterError):
        checked_filters(filters)


def test_nesting_is_limited() -> None:
    """Filters nested a thousand times are refused, without a RecursionError."""
    logical: dict[str, Any] = {"a": 1}
    literal: Any = 1
    for _ in range(1000):
        logical = {"$or": [logical]}
        literal = {"a": literal}
    for filters in (logical, literal, {"a": {"$in": [literal]}}):
        with pytest.raises(BadFilterError, match="nested"):
            checked_filters(filters)


MANY_NAMES = {f"a{number}": 1 for number in range(2001)}
MANY_PATTERNS = [re.compile(f"(a+)+{number}$") for number in range(11)]


@pytest.mark.parametrize(
    "filters",
    [
        MANY_NAMES,
        {"$or": [{"a": 1, f"b{number}": 1} for number in range(1000)]},
        {"a": {"$elemMatch": MANY_NAMES}},
        {"a": {"$in": [{"b": 1}] * 2001}},
        {"a": {"$in": MANY_PATTERNS}},
        {"a": {"$nin": [Regex("x")] * 11}},
        {"$or": [{"a": {"$regex": "x"}}] * 11},
    ],
)
def test_refuses_filters_that_take_long_to_parse(filters: dict[str, Any]) -> None:
    """MongoDB's time limit does not apply while it parses a query or matches one document."""
    with pytest.raises(BadFilterError, match="the limit is"):
        checked_filters(filters)
    with pytest.raises(BadFilterError, match="the limit is"):
        checked_update({"$pull": {"tags": filters}})


def test_updates_and_their_options_have_the_same_limits() -> None:
    """Properties, array filters and projections."""
    with pytest.raises(BadFilterError, match="an update with 2002 fields"):
        checked_update({"$set": MANY_NAMES})
    with pytest.raises(BadFilterError, match="array_filters with 2001 fields"):
        checked_options({"array_filters": [{f"e{number}": 1} for number in range(2001)]}, ())
    with pytest.raises(BadFilterError, match="a projection with 2001 fields"):
        checked_options({"projection": MANY_NAMES}, ())


def test_large_lists_of_ids_pass() -> None:
    """They are compared with an index."""
    filters = {"_id": {"$in": list(range(100_000))}, "meta": {"$in": MANY_PATTERNS[:10]}}
    assert checked_filters(filters) == filters


@given(
    st.dictionaries(st.sampled_from(["owner", "_id", "a", "owner.x"]), st.integers() | st.text() | st.none())
)
def test_filters_cannot_replace_the_owner(filters: dict[str, Any]) -> None:
    """The query always contains the owner, whatever the filters contain."""
    owner = ObjectId()
    try:
        query = owned(filters, owner)
    except BadFilterError:
        return
    assert query == ({"$and": [{"owner": owner}, filters]} if filters else {"owner": owner})


@pytest.mark.parametrize(
    "update",
    [
        {"$set": {"meta": "x", "a.b": 1}},
        {"$unset": {"meta": ""}, "$inc": {"n": 1}},
        {"$push": {"tags": {"$each": [1, 2], "$slice": -5, "$sort": -1}}},
        {"$pull": {"tags": {"$in": [1, 2]}}},
        {"$pull": {"tags": {"name": "x", "$or": [{"a": 1}]}}},
        {"$rename": {"a": "b"}},
        {"$currentDate": {"seen": True, "at": {"$type": "date"}}},
        {"$set": {"gallery.$": "x", "tags.$[]": 1}},
    ],
)
def test_ordinary_updates_pass_unchanged(update: dict[str, Any]) -> None:
    """Operators that change the user's own fields are allowed."""
    assert checked_update(update) == update


OPERATORS = [
    *("$set", "$unset", "$inc", "$mul", "$min", "$max", "$rename", "$currentDate", "$bit"),
    *("$push", "$pull", "$pullAll", "$addToSet", "$pop", "$setOnInsert"),
]


@given(
    st.sampled_from(OPERATORS),
    st.sampled_from(["owner", "_id", "owner.x", "_id.0", "owner.$[]"]),
    st.sampled_from([1, "x", "owner", None, [1]]),
)
def test_updates_cannot_change_owner_or_id(operator: str, path: str, value: Any) -> None:
    """By any operator and path."""
    with pytest.raises(BadFilterError):
        checked_update({"$set": {"a": 1}, operator: {path: value}})


@pytest.mark.parametrize(
    "update",
    [
        {"$rename": {"a": "owner"}},
        {"$rename": {"a": "_id.x"}},
        {"$rename": {"a": 5}},
        [{"$set": {"a": 1}}],
        {"a": 1},
        {"a": 1, "$set": {"b": 1}},
        {},
        None,
        {"$set": {}},
        {"$set": 5},
        {"$set": {"a": {"$function": 1}}},
        {"$set": {"a": [{"b": {"$where": "x"}}]}},
        {"$set": {"$a": 1}},
        {"$push": {"a": {"$each": [1], "$where": 1}}},
        {"$pull": {"a": {"$where": "true"}}},
        {"$currentDate": {"a": {"$type": "int"}}},
        {"$setOnInsert": {"a": 1}},
        {"$set": {"a": Code("x")}},
    ],
)
def test_refuses_other_updates(update: Any) -> None:
    """Pipelines, whole documents, renaming to the owner, code, and anything but a mapping."""
    with pytest.raises(BadFilterError):
        checked_update(update)


def test_collections_protect_additional_fields() -> None:
    """A protected field is refused, also as a part of a path."""
    for update in ({"$set": {"gallery": []}}, {"$push": {"gallery": "x"}}, {"$unset": {"gallery.0": ""}}):
        with pytest.raises(BadFilterError, match="gallery"):
            checked_update(update, {"gallery"})


def test_a_sort_is_pairs_of_field_and_direction() -> None:
    """Mappings, pairs and a single name are accepted."""
    assert checked_sort(None) is None
    assert checked_sort("a") == [("a", 1)]
    assert checked_sort({"a": -1, "b": 1}) == [("a", -1), ("b", 1)]
    assert checked_sort([("a", -1)]) == [("a", -1)]
    wrong: list[Any] = [
        {"a": 2},
        {"a": True},
        {"a": {"$meta": "textScore"}},
        {"$a": 1},
        5,
        [("a",)],
        ["ab", 1],
        {"": 1},
    ]
    for sort in wrong:
        with pytest.raises(BadFilterError):
            checked_sort(sort)


@pytest.mark.parametrize("value", [0, -1, True, 1.5, "1", 2**31, 10**20])
def test_limits_are_whole_numbers_from_one(value: Any) -> None:
    """A limit of 0, which MongoDB reads as no limit, is refused."""
    with pytest.raises(BadFilterError):
        checked_limit(value)
    assert checked_limit(None) == 0
    assert checked_limit(7) == 7


@pytest.mark.parametrize("value", [-1, True, 1.5, "1", 2**31])
def test_skips_are_whole_numbers_from_zero(value: Any) -> None:
    """A negative skip is an error, and None is 0."""
    with pytest.raises(BadFilterError):
        checked_skip(value)
    assert checked_skip(None) == checked_skip(0) == 0


@pytest.mark.parametrize("value", [-1, 2**63, True, 1.0, "1", None])
def test_ids_fit_into_bson(value: Any) -> None:
    """An id is a whole number below 2^63."""
    with pytest.raises(BadValueError):
        checked_id(value, "face")
    assert checked_id(2**63 - 1, "face") == 2**63 - 1


@pytest.mark.parametrize("value", [-0.01, 1.01, float("nan"), float("inf"), "0.5", None, True])
def test_thresholds_are_confidences(value: Any) -> None:
    """A threshold is a number from 0 to 1."""
    with pytest.raises(BadValueError):
        checked_threshold(value)
    assert checked_threshold(1) == 1.0

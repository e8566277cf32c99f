"""Users cannot reach documents of other users."""

import contextlib
from typing import Any

from bson import ObjectId
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store import Context, StoreError, UserStore

A, B = ObjectId("a" * 24), ObjectId("b" * 24)
A_KEYS = [ObjectId(f"{'a' * 20}{number:04}") for number in range(4)]
B_KEYS = [ObjectId(f"{'b' * 20}{number:04}") for number in range(4)]
A_NUMBERS, B_NUMBERS = [1, 2, 3, 4], [101, 102, 103, 104]
KEYS: dict[str, tuple[list[Any], list[Any]]] = {
    "cameras": (A_KEYS, B_KEYS),
    "faces": (A_NUMBERS, B_NUMBERS),
    "persons": (A_NUMBERS, B_NUMBERS),
}
"""The keys of A's and of B's documents, by collection."""

FIELDS = st.sampled_from(
    ["_id", "owner", "id", "n", "tags", "parts", "parts.n", "owner.x", "$owner", "$where", "$expr"]
)
PLAIN = st.sampled_from(
    [
        None,
        1,
        2,
        "x",
        A,
        B,
        A_KEYS[0],
        B_KEYS[0],
        B_KEYS[1],
        B_NUMBERS[0],
        True,
        {"n": 1},
        {"$ne": A},
        {"owner": B},
    ]
)
CONDITIONS = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.dictionaries(
            st.sampled_from(
                [
                    *(
                        "$eq",
                        "$ne",
                        "$gt",
                        "$gte",
                        "$lt",
                        "$lte",
                        "$exists",
                        "$not",
                        "$elemMatch",
                        "$type",
                        "$size",
                    ),
                    *("$regex", "$mod", "$where", "$function", "$expr", "$bitsAllSet"),
                ]
            ),
            inner,
            min_size=1,
            max_size=2,
        ),
        st.dictionaries(
            st.sampled_from(["$in", "$nin", "$all"]), st.lists(inner, max_size=3), min_size=1, max_size=1
        ),
    ),
    max_leaves=4,
)
FILTERS = st.recursive(
    st.dictionaries(FIELDS, CONDITIONS, max_size=3),
    lambda inner: st.dictionaries(
        st.sampled_from(["$or", "$and", "$nor", "owner"]), st.lists(inner, min_size=1, max_size=3), min_size=1
    ),
    max_leaves=5,
)
UPDATES = st.dictionaries(
    st.sampled_from(
        [
            "$set",
            "$unset",
            "$inc",
            "$rename",
            "$push",
            "$pull",
            "$addToSet",
            "$min",
            "$max",
            "$setOnInsert",
            "owner",
            "$pop",
        ]
    ),
    st.dictionaries(
        st.sampled_from(["owner", "_id", "owner.x", "n", "tags", "note", "parts.$[]"]),
        st.sampled_from([B, 1, "owner", "_id", "x", {"$each": [B]}, {"owner": B}, {"$function": "f"}]),
        min_size=1,
        max_size=2,
    ),
    min_size=1,
    max_size=2,
)
SORTS = st.none() | st.dictionaries(FIELDS, st.sampled_from([1, -1, {"$meta": "x"}]), max_size=2)


def documents(owner: ObjectId, keys: list[Any]) -> list[dict[str, Any]]:
    return [
        {
            "_id": key,
            "owner": owner,
            **({"id": f"c{number}"} if isinstance(key, ObjectId) else {}),
            "n": number,
            "tags": ["x", number],
            "parts": [{"n": 1}],
        }
        for number, key in enumerate(keys)
    ]


async def prepare(ctx: Context) -> None:
    first = not await ctx.users.count({"_id": A})
    if first:
        await ctx.users.add({"_id": A, "token": "a"})
        await ctx.users.add({"_id": B, "token": "b"})
    for name, (mine, theirs) in KEYS.items():
        collection = ctx.database[name]
        if first:
            await collection.insert_many(documents(B, theirs))
        await collection.delete_many({"owner": {"$ne": B}})
        await collection.insert_many(documents(A, mine))


@given(
    name=st.sampled_from(sorted(KEYS)),
    filters=FILTERS,
    update=UPDATES,
    sort=SORTS,
    skip=st.sampled_from([None, 0, 1]),
    limit=st.sampled_from([None, 2]),
)
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_no_call_reaches_documents_of_another_user(
    ctx: Context,
    name: str,
    filters: dict[str, Any],
    update: dict[str, Any],
    sort: dict[str, Any] | None,
    skip: int | None,
    limit: int | None,
) -> None:
    """No call of user A reads, counts, changes or removes documents of B, or changes an owner."""
    await prepare(ctx)
    mine, theirs = KEYS[name]
    documents_of: UserStore[Any] = getattr(ctx, name)
    with contextlib.suppress(StoreError):
        found = await documents_of.find(A, filters, sort, skip, limit)
        assert all(document["owner"] == A for document in found)
        assert await documents_of.count(A, filters, sort, skip, limit) == len(found)
    with contextlib.suppress(StoreError):
        first = await documents_of.find_one(A, filters, sort, skip)
        assert first is None or first["owner"] == A
    with contextlib.suppress(StoreError):
        changed = await documents_of.update_many(A, filters, update, sort)
        assert all(document["owner"] == A for document in changed)
    with contextlib.suppress(StoreError):
        one = await documents_of.update_one(A, filters, update, sort)
        assert one is None or one["owner"] == A
    assert await ctx.database[name].count_documents({"owner": A}) == len(mine)
    with contextlib.suppress(StoreError):
        removed = await documents_of.remove_one(A, filters, sort)
        assert removed is None or removed["owner"] == A
    raw = await ctx.database[name].find({"_id": {"$in": theirs}}).sort("_id", 1).to_list(None)
    assert raw == documents(B, theirs)
    assert await ctx.database[name].count_documents({"owner": {"$nin": [A, B]}}) == 0


async def test_a_filter_on_the_owner_can_only_narrow(ctx: Context) -> None:
    """Filters on another owner find nothing; a filter on the own owner has no effect."""
    await prepare(ctx)
    assert await ctx.cameras.find(A, {"owner": B}) == []
    assert await ctx.cameras.find(A, {"$or": [{"owner": B}, {"_id": B_KEYS[0]}]}) == []
    assert await ctx.cameras.count(A, {"owner": {"$exists": True}}) == 4
    assert len(await ctx.cameras.find(A, {"owner": A})) == 4

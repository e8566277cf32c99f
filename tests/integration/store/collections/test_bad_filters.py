"""Invalid queries: one documented error that names what was expected, in every method."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from bson import Code, ObjectId

from store import (
    BadFilterError,
    BadValueError,
    Context,
    GalleryError,
    Image,
    NotFoundError,
    User,
)
from tests.facens import extraction_face, face, person_facen, stored
from tests.mongo import StoreArguments
from tests.sightings import photo
from tests.store_checks import nested, snapshot

FILTERS: list[Any] = [
    *(5, "name", [("a", 1)], {"$where": "1"}, {"$expr": {}}, {"a": {"$near": 1}}, {"a": {"$unknown": 1}}),
    *(
        {"a": {"$regex": "("}},
        {"a": {"$type": "no such type"}},
        {"a": {"$size": -1}},
        {"a": {"$mod": [0, 1]}},
    ),
    *({"a": 2**63}, {"a": object()}, {"a": uuid4()}, {"a": {1, 2}}, {"a": "\ud800"}, {"\ud800": 1}),
    *({"$or": []}, nested(500), {5: 1}, {"a": np.float32(1)}),
]


@pytest.mark.parametrize("filters", FILTERS, ids=[f"{number}" for number in range(len(FILTERS))])
async def test_bad_filters_are_one_error_in_every_method(ctx: Context, user: User, filters: Any) -> None:
    """No mapping, unknown operators, malformed arguments, values that MongoDB cannot store."""
    await stored(ctx, user, person_facen(1), ["default"])
    await ctx.cameras.add(user, {"id": "door", "a": "x"})
    before = await snapshot(ctx)
    change = {"$set": {"note": 1}}
    given = extraction_face(person_facen(1))
    calls: list[Callable[[], Awaitable[Any]]] = [
        lambda: ctx.cameras.find(user, filters),
        lambda: ctx.cameras.find_one(user, filters),
        lambda: ctx.cameras.count(user, filters),
        lambda: ctx.cameras.remove_one(user, filters),
        lambda: ctx.cameras.update_one(user, filters, change),
        lambda: ctx.cameras.update_many(user, filters, change),
        lambda: ctx.galleries.remove_one(user, filters),
        lambda: ctx.persons.remove_one(user, filters),
        lambda: ctx.faces.remove_one(user, filters),
        lambda: ctx.users.find(filters),
        lambda: ctx.users.remove_one(filters),
        lambda: ctx.faces.identify(user, "default", given, 1, 0.5, filters),
        lambda: ctx.persons.identify(user, given, "default", 0.5, True, filters),
    ]
    for call in calls:
        with pytest.raises(BadValueError):
            await call()
    assert await snapshot(ctx) == before


@pytest.mark.parametrize("key", [-1, 2**63, 2**64, "7", 1.5, True, None, ObjectId()])
async def test_ids_of_a_wrong_type_or_range_are_refused(ctx: Context, user: User, key: Any) -> None:
    """In a new face or person, a face's person_id, a query and an update."""
    known = await stored(ctx, user, person_facen(1), ["default"])
    before = await snapshot(ctx)
    with pytest.raises(BadValueError, match="2\\^63"):
        await ctx.faces.add(user, face(person_facen(2), _id=key))
    with pytest.raises(BadValueError, match="2\\^63"):
        await ctx.persons.add(user, {"_id": key})
    if key is not None:  # None is nobody
        for change in ({"person_id": key}, {"x1": 0.0, "person_id": key}):
            with pytest.raises(BadValueError, match="2\\^63"):
                await ctx.faces.update_one(user, {"_id": known["_id"]}, {"$set": change})
        with pytest.raises(BadValueError, match="2\\^63"):
            await ctx.faces.add(user, face(person_facen(2), person_id=key))
        with pytest.raises(BadValueError, match="2\\^63"):
            await ctx.persons.is_friend(user, key, "door")
    assert await snapshot(ctx) == before


async def test_a_missing_gallery_is_an_error_in_every_method(ctx: Context, user: User) -> None:
    """The error names it."""
    made = await stored(ctx, user, person_facen(1), ["default"])
    before = await snapshot(ctx)
    given = extraction_face(person_facen(1))
    for call in (
        lambda: ctx.faces.add_to_galleries(made, ["default", "nowhere"]),
        lambda: ctx.faces.identify(user, ["default", "nowhere"], given, 1, 0.5),
        lambda: ctx.persons.identify(user, given, "nowhere", 0.5, create=True),
    ):
        with pytest.raises(NotFoundError, match="nowhere"):
            await call()
    assert await snapshot(ctx) == before


async def test_notices_a_gallery_removed_by_another_process(store_settings: StoreArguments) -> None:
    """Within a second of its removal."""
    async with store_settings.open() as ours, store_settings.open() as theirs:
        user = await ours.users.add({})
        made = await stored(ours, user, person_facen(1), ["vip"])
        other = await ours.faces.add(user, face(person_facen(2)))
        await theirs.galleries.remove_one(user, {"name": "vip"})
        ours.galleries._known = dict.fromkeys(ours.galleries._known, 0.0)  # that second is over
        for one in (made, other):
            with pytest.raises(NotFoundError, match="vip"):
                await ours.faces.add_to_galleries(one, ["vip"])


@pytest.mark.parametrize("limit", [0, -1, 2**31, 10**30, 1.5, "5", True, None])
async def test_a_limit_is_a_whole_number_from_one(ctx: Context, user: User, limit: Any) -> None:
    """In identify, and in find and count, where None means no limit."""
    given = extraction_face(person_facen(1))
    with pytest.raises(BadValueError, match="from 1"):
        await ctx.faces.identify(user, "default", given, limit, 0.5)
    if limit is not None:
        for call in (ctx.faces.find, ctx.faces.count):
            with pytest.raises(BadFilterError, match="from 1"):
                await call(user, None, limit=limit)


async def test_a_huge_limit_returns_all(ctx: Context, user: User) -> None:
    """The largest allowed limit has no cost of its own."""
    for number in range(3):
        await stored(ctx, user, person_facen(number), ["default"])
    given = extraction_face(person_facen(0))
    assert len(await ctx.faces.identify(user, "default", given, 2**31 - 1, 0.0)) == 3
    assert len(await ctx.faces.find(user, None, limit=2**31 - 1)) == 3


@pytest.mark.parametrize("threshold", [-0.001, 1.001, float("nan"), float("inf"), "0.5", None, True])
async def test_a_threshold_is_a_confidence(ctx: Context, user: User, threshold: Any) -> None:
    """From 0 to 1, for faces and persons; no person is created."""
    given = extraction_face(person_facen(1))
    with pytest.raises(BadValueError, match="from 0 to 1"):
        await ctx.faces.identify(user, "default", given, 1, threshold)
    with pytest.raises(BadValueError, match="from 0 to 1"):
        await ctx.persons.identify(user, given, "default", threshold, create=True)
    assert await ctx.persons.count(user, None) == 0


async def test_a_malformed_gallery_name_is_the_same_error_in_every_method(ctx: Context, user: User) -> None:
    """In adding, removing, the search for faces and for persons."""
    made = await stored(ctx, user, person_facen(1), ["default"])
    given = extraction_face(person_facen(1))
    for call in (
        lambda: ctx.galleries.add(user, "a b"),
        lambda: ctx.faces.add_to_galleries(made, ["a b"]),
        lambda: ctx.faces.del_from_galleries(made, ["a b"]),
        lambda: ctx.faces.identify(user, "a b", given, 1, 0.5),
        lambda: ctx.persons.identify(user, given, "a b", 0.5),
    ):
        with pytest.raises(GalleryError, match="1 to 48 characters"):
            await call()


async def test_refuses_invalid_sorts_and_return_documents(ctx: Context, user: User) -> None:
    """Including arrays, which have no truth value, and bson.Code, which is a str."""
    assert await ctx.faces.find(user, None, sort=Code("x")) == []
    for sort in (object(), {"a": 2}, [("a", np.zeros(3))]):
        with pytest.raises(BadFilterError):
            await ctx.faces.find(user, None, sort=sort)
    for returned in (np.zeros(3), "after", 1, None):
        with pytest.raises(BadFilterError, match="ReturnDocument"):
            await ctx.faces.update_one(user, None, {"$set": {"meta": "x"}}, return_document=returned)


@pytest.mark.parametrize("given", [None, 5, "face", np.zeros(3), [], {}])
async def test_an_invalid_face_is_the_same_error_in_every_method(
    ctx: Context, user: User, given: Any
) -> None:
    """In every method that accepts a face."""
    picture = Image(photo())
    for ask in (
        lambda: ctx.faces.add(user, given),
        lambda: ctx.faces.regenerate_id(given),
        lambda: ctx.faces.add_to_galleries(given, ["default"]),
        lambda: ctx.faces.del_from_galleries(given, ["default"]),
        lambda: ctx.faces.identify(user, "default", given, 1, 0.5),
        lambda: ctx.persons.identify(user, given, "default", 0.5),
        lambda: ctx.faces.upload(given, picture),
        lambda: ctx.faces.upload_thumbnail(given, picture),
    ):
        with pytest.raises(BadValueError):
            await ask()
    with pytest.raises(BadValueError):
        ctx.faces.gen_ffupload_key(given)

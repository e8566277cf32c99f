"""Updates: properties, operators, and the driver's keyword arguments."""

from datetime import UTC, datetime
from typing import Any

import pytest
from bson import ObjectId
from pymongo import ReturnDocument
from pymongo.collation import Collation

from store import BadFilterError, BadValueError, ConflictError, Context, Face, User
from tests.facens import face, person_facen


async def test_an_update_sets_a_property(ctx: Context, user: User) -> None:
    """`{property: value}` sets the property in every collection, by `update_one` and `update_many`."""
    stored = await ctx.faces.add(user, face(person_facen(1)))
    changed = await ctx.faces.update_one(
        user, {"_id": stored["_id"]}, {"meta": "noted", "room": {"floor": 2}}
    )
    assert changed is not None
    assert (changed["meta"], changed["room"], changed["score"]) == ("noted", {"floor": 2}, stored["score"])
    (changed,) = await ctx.faces.update_many(user, None, {"meta": None})
    assert changed["meta"] is None
    switched = await ctx.users.update_one({"_id": user["_id"]}, {"active": False})
    assert switched is not None and switched["active"] is False


async def test_properties_of_a_face_are_set_as_fields(ctx: Context, user: User) -> None:
    """`bbox` sets the four corners, and a timestamp may be text."""
    await ctx.faces.add(user, face(person_facen(1)))
    changes = {"bbox": (-1, 2, 3, 4.5), "timestamp": "2026-03-01T12:00:00Z"}
    changed = await ctx.faces.update_one(user, None, changes)
    assert changed is not None and changed.bbox == (-1.0, 2.0, 3.0, 4.5)
    assert changed.document()["timestamp"] == datetime(2026, 3, 1, 12, tzinfo=UTC)
    for wrong in ({"bbox": (1, 2, 3)}, {"timestamp": "noon"}, {"id": 5}, {"galleries": ["a"]}):
        with pytest.raises(BadValueError):
            await ctx.faces.update_one(user, None, wrong)


@pytest.mark.parametrize(
    ("update", "message"),
    [
        ({"meta": "a", "$set": {"room": 1}}, "not both.*'meta' into a \\$set"),
        ({"$set": {"room": 1}, "meta": "a"}, "not both"),
        ({"owner": ObjectId()}, "owner cannot be changed"),
        ({"_id": 5}, "_id cannot be changed"),
        ({"gallery": ["x"]}, "gallery cannot be changed"),
        ({"meta": 5}, "meta is text"),
        ({}, "empty"),
        (None, "NoneType"),
    ],
)
async def test_properties_are_checked_as_operators(
    ctx: Context, user: User, update: Any, message: str
) -> None:
    """Mixing both is an error; protected fields and types are checked as for `$set`."""
    await ctx.faces.add(user, face(person_facen(1)))
    for change in (ctx.faces.update_one, ctx.faces.update_many):
        with pytest.raises(BadValueError, match=message):
            await change(user, None, update)


async def test_accepts_the_drivers_arguments(ctx: Context, user: User) -> None:
    """Projection, hint, collation and comment work as the driver documents them."""
    for name in ("b", "A"):
        await ctx.persons.add(user, {"name": name, "room": 1})
    person = await ctx.persons.update_one(
        user, {"name": "a"}, {"room": 2}, collation={"locale": "en", "strength": 2}, comment="moved"
    )
    assert person is not None and (person["name"], person["room"]) == ("A", 2)
    many = await ctx.persons.update_many(
        user, {"name": "a"}, {"room": 3}, collation=Collation("en", strength=2), hint=[("_id", 1)]
    )
    assert [one["room"] for one in many] == [3]
    assert await ctx.persons.update_one(user, None, {"room": 4}, hint="_id_") is not None
    with pytest.raises(BadFilterError, match="hint"):
        await ctx.persons.update_one(user, None, {"room": 4}, hint="no_such_index")


@pytest.mark.parametrize(
    ("projection", "left"),
    [
        ({"room": 1}, {"_id", "owner", "room"}),
        (["room"], {"_id", "owner", "room"}),
        ({"_id": 0, "room": True}, {"_id", "owner", "room"}),
        ({"room": 0, "_id": 0, "owner": 0}, {"_id", "owner", "created", "schema", "name"}),
        ({"_id": 0}, {"_id", "owner", "created", "schema", "name", "room"}),
    ],
)
async def test_a_projection_includes_id_and_owner(
    ctx: Context, user: User, projection: Any, left: set[str]
) -> None:
    """The result can be passed to other methods."""
    await ctx.persons.add(user, {"name": "a", "room": 1})
    person = await ctx.persons.update_one(user, None, {"room": 2}, projection=projection)
    assert person is not None and set(person) == left


async def test_an_upsert_inserts_a_document_of_the_user(ctx: Context, user: User) -> None:
    """It is completed as by `add`; an existing one is updated."""
    stranger = await ctx.users.add({})
    await ctx.cameras.add(stranger, {"id": "hall", "url": "rtsp://h/1"})
    for _ in range(2):
        camera = await ctx.cameras.update_one(
            user, {"id": "hall", "url": "rtsp://h/2"}, {"floor": 2}, upsert=True
        )
        assert camera is not None
        assert (camera["owner"], camera["id"], camera["floor"]) == (user["_id"], "hall", 2)
    assert await ctx.cameras.count(user, None) == await ctx.cameras.count(stranger, None) == 1
    made = await ctx.faces.update_one(user, {"meta": "new"}, {"$inc": {"room": 2}}, upsert=True)
    assert isinstance(made, Face) and isinstance(made["_id"], int)
    assert (made["owner"], made["gallery"], made["meta"], made["room"]) == (user["_id"], [], "new", 2)
    (person,) = await ctx.persons.update_many(user, {"name": "Ann"}, {"room": 1}, upsert=True)
    assert (person["owner"], person["name"]) == (user["_id"], "Ann") and isinstance(person["_id"], int)
    gallery = await ctx.galleries.update_one(user, {"name": "staff"}, {"note": 1}, upsert=True)
    assert gallery is not None and (gallery["name"], gallery["owner"]) == ("staff", user["_id"])
    new = await ctx.users.update_one({"note": "x"}, {"active": False}, upsert=True)
    assert new is not None and (new["active"], len(new["token"]) > 20) == (False, True)
    assert (
        await ctx.faces.update_one(
            user, {"meta": "newer"}, {"room": 1}, return_document=ReturnDocument.BEFORE, upsert=True
        )
        is None
    )


async def test_an_upsert_refuses_what_add_refuses(ctx: Context, user: User) -> None:
    """Another owner, malformed ids and names, and fields that only methods set."""
    stranger = await ctx.users.add({})
    theirs = await ctx.faces.add(stranger, face(person_facen(1)))
    with pytest.raises(ConflictError):
        await ctx.faces.update_one(user, {"_id": theirs["_id"]}, {"meta": "x"}, upsert=True)
    refused: list[tuple[Any, Any, Any]] = [
        (ctx.faces, {"_id": "seven"}, {"meta": "x"}),
        (ctx.faces, {"gallery": "staff"}, {"meta": "x"}),
        (ctx.faces, {"facen": "no facen"}, {"meta": "x"}),
        (ctx.faces, {"owner": stranger["_id"]}, {"meta": "x"}),
        (ctx.faces, {"score": "good"}, {"meta": "x"}),
        (ctx.galleries, {"name": "a b"}, {"note": 1}),
        (ctx.galleries, {}, {"note": 1}),
        (ctx.cameras, {"id": "a b"}, {"floor": 1}),
        (ctx.cameras, {"id": "a", "password": "x"}, {"floor": 1}),
        (ctx.persons, {"_id": ObjectId()}, {"room": 1}),
        (ctx.persons, {"sighting_id": "x"}, {"room": 1}),
    ]
    for collection, filters, update in refused:
        before = await collection.count(user, None)
        with pytest.raises(BadValueError):
            await collection.update_one(user, filters, update, upsert=True)
        assert await collection.count(user, None) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"session": object()}, "no option session; it accepts array_filters"),
        ({"let": {"a": 1}}, "no option let"),
        ({"upsert": "yes"}, "upsert is True or False"),
        ({"projection": {"room": {"$slice": 1}}}, "1 or 0"),
        ({"projection": {"room": "$owner"}}, "1 or 0"),
        ({"projection": {"room": 1, "meta": 0}}, "not both"),
        ({"projection": "room"}, "list or a mapping"),
        ({"hint": 5}, "name of an index"),
        ({"collation": {"language": "de"}}, "not a collation"),
        ({"collation": "de"}, "mapping"),
        ({"array_filters": {"a": 1}}, "list of filters"),
        ({"comment": {"$where": 1}}, "not allowed"),
        ({"sort": {"meta": 2}}, "1 or -1"),
        ({"return_document": "after"}, "ReturnDocument"),
    ],
)
async def test_arguments_are_checked_even_without_a_match(
    ctx: Context, user: User, arguments: dict[str, Any], message: str
) -> None:
    """`update_one` and `update_many` check their arguments before the query."""
    for change in (ctx.faces.update_one, ctx.faces.update_many):
        with pytest.raises(BadFilterError, match=message):
            await change(user, {"meta": "nothing has this"}, {"meta": "x"}, **arguments)
    with pytest.raises(BadFilterError):
        await ctx.faces.update_many(user, {"meta": "nothing has this"}, {"$where": 1})

"""Users and authentication."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from bson import ObjectId

from store import AuthenticationError, BadValueError, ConflictError, Context, User
from tests.facens import extraction_face, face, person_facen, stored


async def test_a_user_is_enrolled_with_a_token(ctx: Context) -> None:
    """A missing token is generated, and the user is returned as stored."""
    user = await ctx.users.add({"name": "site 7"})
    assert isinstance(user, User)
    assert user["active"] is True
    assert len(user["token"]) >= 32
    assert await ctx.users.find_one({"_id": user["_id"]}) == user
    assert user["token"] not in repr(user)


async def test_tokens_are_unique(ctx: Context) -> None:
    """A second user with the same token is a conflict."""
    await ctx.users.add({"token": "same"})
    with pytest.raises(ConflictError):
        await ctx.users.add({"token": "same"})
    assert await ctx.users.count(None) == 1


@pytest.mark.parametrize(
    "wrong", [None, 5, {"token": ""}, {"token": 5}, {"token": "a\n"}, {"active": 1}, {"_id": 1}]
)
async def test_bad_user_data_is_refused(ctx: Context, wrong: Any) -> None:
    """Nothing is stored."""
    with pytest.raises(BadValueError):
        await ctx.users.add(wrong)
    assert await ctx.users.count(None) == 0


async def test_a_token_authenticates_its_active_user(ctx: Context) -> None:
    """Unknown tokens and those of inactive users are refused."""
    user = await ctx.users.add({"token": "right"})
    await ctx.users.add({"token": "resting", "active": False})
    assert await ctx.users.authenticate("right") == user
    wrong: list[Any] = ["resting", "righ", "rightt", "", None, 5]
    for token in wrong:
        with pytest.raises(AuthenticationError):
            await ctx.users.authenticate(token)


def every_call(ctx: Context) -> dict[str, Callable[[Any], Awaitable[Any]]]:
    one = {"_id": 1}
    change = {"$set": {"meta": "x"}}
    calls: dict[str, Callable[[Any], Awaitable[Any]]] = {
        "faces.add": lambda user: ctx.faces.add(user, face(person_facen(1))),
        "faces.identify": lambda user: ctx.faces.identify(
            user, "default", extraction_face(person_facen(1)), 1, 0.5
        ),
        "galleries.add": lambda user: ctx.galleries.add(user, "g"),
        "galleries.ensure": lambda user: ctx.galleries.ensure(user, "g"),
        "cameras.add": lambda user: ctx.cameras.add(user, {"id": "door"}),
        "persons.add": lambda user: ctx.persons.add(user, {}),
        "persons.identify": lambda user: ctx.persons.identify(
            user, extraction_face(person_facen(1)), "default", 0.5, create=True
        ),
        "persons.resolve": lambda user: ctx.persons.resolve(
            user, extraction_face(person_facen(1)), "default", 0.5
        ),
        "persons.friend_days": lambda user: ctx.persons.friend_days(user, 1, "door"),
        "faces.catch_up": lambda user: ctx.faces.catch_up(user, "default"),
        "persons.is_friend": lambda user: ctx.persons.is_friend(user, 1, "door"),
        "persons.is_friend of nobody": lambda user: ctx.persons.is_friend(user, None, "door"),
    }
    for store in (ctx.faces, ctx.galleries, ctx.cameras, ctx.persons):
        calls |= {
            f"{store.name}.find": lambda user, store=store: store.find(user, None),
            f"{store.name}.find_one": lambda user, store=store: store.find_one(user, one),
            f"{store.name}.count": lambda user, store=store: store.count(user, None),
            f"{store.name}.remove_one": lambda user, store=store: store.remove_one(user, one),
            f"{store.name}.update_one": lambda user, store=store: store.update_one(user, one, change),
            f"{store.name}.update_many": lambda user, store=store: store.update_many(user, None, change),
        }
    return calls


async def test_every_method_requires_an_active_user(ctx: Context) -> None:
    """None, an unknown id, an inactive user, text and a plain dictionary are an error."""
    inactive = await ctx.users.add({"active": False})
    nobodies: list[Any] = [
        None,
        ObjectId(),
        inactive,
        inactive["_id"],
        str(inactive["_id"]),
        {"_id": 1},
        User(),
    ]
    for name, call in every_call(ctx).items():
        for nobody in nobodies:
            with pytest.raises(AuthenticationError):
                await call(nobody)
                pytest.fail(f"{name} let {nobody!r} in")
    assert await ctx.galleries._collection.count_documents({}) == 0


async def test_a_user_is_given_by_id_or_object(ctx: Context) -> None:
    """Every method accepts both."""
    user = await ctx.users.add({})
    await stored(ctx, user, person_facen(1), ["default"])
    for name, call in every_call(ctx).items():
        if name != "galleries.add":
            await ctx.cameras.remove_one(user, {"id": "door"})
            await call(user)
            await ctx.cameras.remove_one(user, {"id": "door"})
            await call(user["_id"])


async def test_a_disabled_user_is_refused_at_once(ctx: Context) -> None:
    """Even if the user was authenticated a moment ago, and an old object still says active."""
    user = await ctx.users.add({})
    await ctx.galleries.add(user, "g")
    await ctx.users.update_one({"_id": user["_id"]}, {"$set": {"active": False}})
    for known in (user, user["_id"]):
        with pytest.raises(AuthenticationError):
            await ctx.galleries.find(known, None)
    await ctx.users.update_one({"_id": user["_id"]}, {"$set": {"active": True}})
    assert await ctx.galleries.count(user, None) == 1
    await ctx.users.remove_one({"_id": user["_id"]})
    with pytest.raises(AuthenticationError):
        await ctx.galleries.find(user, None)


async def test_galleries_of_a_disabled_users_face_do_not_change(ctx: Context) -> None:
    """The gallery methods take the user from the face's owner, and refuse it."""
    user = await ctx.users.add({})
    made = await stored(ctx, user, person_facen(1), ["default"])
    await ctx.users.update_one({"_id": user["_id"]}, {"$set": {"active": False}})
    with pytest.raises(AuthenticationError):
        await ctx.faces.del_from_galleries(made, ["default"])
    with pytest.raises(AuthenticationError):
        await ctx.faces.add_to_galleries(made, ["default"])


async def test_a_token_is_found_regardless_of_its_writer(ctx: Context) -> None:
    """Inserted or changed by another program or through the context; an old token is refused."""
    users = ctx.database["users"]
    one = ObjectId()
    await users.insert_one({"_id": one, "token": "raw", "active": True})
    assert (await ctx.users.authenticate("raw"))["_id"] == one
    await users.update_one({"_id": one}, {"$set": {"token": "changed"}})
    assert (await ctx.users.authenticate("changed"))["_id"] == one
    await ctx.users.update_one({"_id": one}, {"$set": {"token": "again"}})
    assert (await ctx.users.authenticate("again"))["_id"] == one
    for old in ("raw", "changed"):
        with pytest.raises(AuthenticationError):
            await ctx.users.authenticate(old)


@pytest.mark.parametrize(
    "token",
    [
        "schlüssel-äöü",
        "\u043f\u0430\u0440\u043e\u043b\u044c123",
        "in between",
        "a",
        "x" * 512,
        "new\u2028line",
        "\x00",
    ],
)
async def test_any_stored_token_is_found(ctx: Context, token: str) -> None:
    """For any text stored by another program."""
    await ctx.database["users"].insert_one({"_id": ObjectId(), "token": token, "active": True})
    assert (await ctx.users.authenticate(token))["token"] == token
    for wrong in (f"{token}x", token.upper(), f" {token}", "\ud800", ""):
        if wrong != token:
            with pytest.raises(AuthenticationError):
                await ctx.users.authenticate(wrong)


async def test_malformed_users_cannot_authenticate(ctx: Context) -> None:
    """Without a token, with an empty one or one that is no text, or with an `active` other than True."""
    users = ctx.database["users"]
    for fields in (
        {},
        {"token": "", "active": True},
        {"token": 5, "active": True},
        {"token": {"a": 1}, "active": True},
        {"token": ["listed"], "active": True},
        {"token": "one", "active": 1},
        {"token": "yes", "active": "yes"},
        {"token": "none"},
    ):
        await users.insert_one({"_id": ObjectId(), **fields})
    wrong: list[Any] = ["", "5", 5, "listed", "one", "yes", "none", None, {"$gt": ""}, {"$regex": "."}]
    for token in wrong:
        with pytest.raises(AuthenticationError):
            await ctx.users.authenticate(token)


async def test_authentication_reads_one_document(ctx: Context) -> None:
    """MongoDB examines at most one document, for any number of users and any token."""
    users = ctx.database["users"]
    await users.insert_many({"_id": ObjectId(), "token": f"t{n}", "active": True} for n in range(500))
    await ctx.database.command("profile", 2)
    assert (await ctx.users.authenticate("t250"))["active"] is True
    for wrong in ("t2500", "T250", "t2+"):
        with pytest.raises(AuthenticationError):
            await ctx.users.authenticate(wrong)
    await ctx.database.command("profile", 0)
    profile = ctx.database["system.profile"].find({"ns": {"$regex": r"\.users$"}, "op": "query"})
    asked = await profile.sort("ts", 1).to_list(None)
    assert [one["docsExamined"] for one in asked] == [1, 0, 0, 0]

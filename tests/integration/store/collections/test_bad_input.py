"""Invalid data: one documented error that names what was expected, and nothing is stored."""

import base64
import traceback
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from store import (
    AuthenticationError,
    BadFilterError,
    BadValueError,
    ConflictError,
    Context,
    User,
)
from tests.facens import face, person_facen, stored
from tests.mongo import StoreArguments
from tests.store_checks import nested, snapshot


def facen_text(numbers: list[float]) -> str:
    return base64.b64encode(np.array(numbers, "<f4").tobytes()).decode()


@pytest.mark.parametrize(
    ("facen", "expected"),
    [
        ("not base64!", "base64"),
        ("AAA", "base64"),
        (5, "base64"),
        (b"AAAA", "base64"),
        ("", "0 bytes"),
        ("AAAAAAA=", "5 bytes"),
        (facen_text([1.0] * 127), "128 numbers"),
        (facen_text([1.0] * 127 + [float("nan")]), "finite"),
        (facen_text([1.0] * 127 + [float("inf")]), "finite"),
        (facen_text([0.0] * 128), "zero"),
    ],
)
async def test_bad_facens_are_refused(store_settings: StoreArguments, facen: Any, expected: str) -> None:
    """In add, identify and Persons.identify, with the same message."""
    async with store_settings.open(facen_size=128) as ctx:
        user = await ctx.users.add({})
        await ctx.galleries.ensure(user, "default")
        known = await ctx.faces.add(user, face(person_facen(1)))
        before = await snapshot(ctx)
        bad = face(person_facen(1))
        bad["facen"] = facen
        with pytest.raises(BadValueError, match=expected):
            await ctx.faces.add(user, bad)
        known["facen"] = facen
        with pytest.raises(BadValueError, match=expected):
            await ctx.faces.add_to_galleries(known, ["default"])
        with pytest.raises(BadValueError, match=expected):
            await ctx.faces.identify(user, "default", bad, 1, 0.5)
        with pytest.raises(BadValueError, match=expected):
            await ctx.persons.identify(user, bad, "default", 0.5, create=True)
        assert await snapshot(ctx) == before
        assert await ctx.facens.galleries() == []


@pytest.mark.parametrize("name", ["", "a" * 300, "a\nb", "\x1b[31mred", "\0", "\ud800", 5, ["a"]])
async def test_names_too_long_or_with_control_characters_are_refused(
    ctx: Context, user: User, name: Any
) -> None:
    """Names of galleries, cameras, persons and users, in add and in updates."""
    person = await ctx.persons.add(user, {"name": "Ann Müller-Łuk 李"})
    await ctx.cameras.add(user, {"id": "door", "name": "door"})
    before = await snapshot(ctx)
    for call in (
        lambda: ctx.galleries.add(user, name),
        lambda: ctx.cameras.add(user, {"id": name}),
        lambda: ctx.cameras.add(user, {"id": "gate", "name": name}),
        lambda: ctx.persons.add(user, {"name": name}),
        lambda: ctx.users.add({"name": name}),
        lambda: ctx.persons.update_one(user, {"_id": person["_id"]}, {"$set": {"name": name}}),
        lambda: ctx.cameras.update_one(user, {"id": "door"}, {"$set": {"name": name}}),
        lambda: ctx.users.update_one({"_id": user["_id"]}, {"$set": {"name": name}}),
    ):
        with pytest.raises(BadValueError):
            await call()
    assert await snapshot(ctx) == before


@pytest.mark.parametrize(
    "change",
    [
        *({"meta": 5}, {"score": float("nan")}, {"score": "good"}, {"age": True}, {"timestamp": 5}),
        *({"cam_id": 5}, {"photo_hash": b"x"}, {"x1": float("inf")}, {"x2": "3"}, {"photo": 5}),
        *(
            {"media_time": float("nan")},
            {"media_time": "x"},
            {"friend": "x"},
            {"detector_info": "x"},
            {"detector_info": {"pack": ["x"]}},
        ),
        *({"gallery": ["vip"]}, {"galleries": ["vip"]}, {"id": 7}, {"bbox": [1, 2, 3, 4]}, {"schema": 99}),
    ],
)
async def test_an_update_cannot_make_a_face_malformed(
    ctx: Context, user: User, change: dict[str, Any]
) -> None:
    """No update gives a field a wrong type, or sets a key of the face object."""
    made = await stored(ctx, user, person_facen(1), ["default"])
    before = await snapshot(ctx)
    with pytest.raises(BadValueError):
        await ctx.faces.update_one(user, {"_id": made["_id"]}, {"$set": change})
    with pytest.raises(BadValueError):
        await ctx.faces.update_many(user, None, {"$set": change})
    for update in ({"$rename": {"cam_id": "meta"}}, {"$push": {"meta": 1}}, {"$set": {"meta.a": 1}}):
        with pytest.raises(BadFilterError, match=r"changed by \$set"):
            await ctx.faces.update_one(user, None, update)
    assert await snapshot(ctx) == before


@pytest.mark.parametrize(
    "fields",
    [
        *(
            {"media_time": float("nan")},
            {"friend": 1},
            {"detector_info": ["x"]},
            {"detector_info": {"pack": {}}},
            {"thumbnail": 5},
        ),
        *({"gender": 5}, {"emotions": "happy"}),
        *({"sighting_id": 5}, {"sighting_id": {"$gt": ""}}),
    ],
)
async def test_a_new_face_has_fields_of_the_right_type(
    ctx: Context, user: User, fields: dict[str, Any]
) -> None:
    """Other faces are refused, before a person is searched."""
    before = await snapshot(ctx)
    bad = face(person_facen(1), **fields)
    with pytest.raises(BadValueError, match=next(iter(fields))):
        await ctx.faces.add(user, bad)
    if "sighting_id" in fields:
        await ctx.galleries.ensure(user, "default")
        before = await snapshot(ctx)
        with pytest.raises(BadValueError, match="sighting_id"):
            await ctx.persons.identify(user, bad, "default", 0.9, create=True)
    assert await snapshot(ctx) == before


@pytest.mark.parametrize(
    "fields",
    [
        *({"created": "yesterday"}, {"created": None}, {"sighting_id": 5}),
        *({"founding": "x"}, {"founding": {"galleries": ["default"], "facen": "junk"}}),
    ],
)
async def test_a_new_person_has_fields_of_the_right_type(
    ctx: Context, user: User, fields: dict[str, Any]
) -> None:
    """Fields that only `identify` sets are refused as well."""
    before = await snapshot(ctx)
    with pytest.raises(BadValueError, match=next(iter(fields))):
        await ctx.persons.add(user, fields)
    assert await snapshot(ctx) == before


@pytest.mark.parametrize(
    "update",
    [
        *({"$set": {"name.x": 1}}, {"$rename": {"note": "name"}}, {"$push": {"name": "x"}}),
        *({"$min": {"name": ""}}, {"$currentDate": {"created": True}}, {"$inc": {"created.x": 1}}),
        *({"$set": {"a.$owner": 1}}, {"$set": {"a.$[B c]": 1}}),
    ],
)
async def test_checked_fields_are_set_as_a_whole(ctx: Context, user: User, update: dict[str, Any]) -> None:
    """A person's name and time cannot be changed by a path or by an operator other than $set."""
    person = await ctx.persons.add(user, {"note": "a\nb"})
    before = await snapshot(ctx)
    with pytest.raises(BadFilterError):
        await ctx.persons.update_one(user, {"_id": person["_id"]}, update)
    assert await snapshot(ctx) == before


async def test_refuses_secrets_in_every_field(ctx: Context, user: User) -> None:
    """Renaming a field cannot create a url or a password either."""
    await ctx.cameras.add(user, {"id": "door", "note": "a note"})
    before = await snapshot(ctx)
    for secret in (
        {"note": "rtsp://me:secret@camera/1"},
        {"url": "rtsp://camera/user=me_password=secret_channel=1.sdp"},
        {"meta": {"Password": "secret"}},
        {"streams": [{"url": "http://camera/?token=secret"}]},
    ):
        with pytest.raises(BadValueError, match="a secret is not stored in a document"):
            await ctx.cameras.add(user, {"id": "hall", **secret})
        with pytest.raises(BadValueError, match="a secret is not stored in a document"):
            await ctx.cameras.update_one(user, {"id": "door"}, {"$set": secret})
    for name in ("pass", "url"):
        with pytest.raises(BadValueError, match=r"by \$set and \$unset, not by \$rename"):
            await ctx.cameras.update_one(user, {"id": "door"}, {"$rename": {"note": name}})
    assert await snapshot(ctx) == before


@pytest.mark.parametrize(
    "moment",
    [
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-12))),
        datetime.min.replace(tzinfo=timezone(timedelta(hours=12))),
    ],
)
async def test_times_beyond_the_calendar_are_refused(ctx: Context, user: User, moment: datetime) -> None:
    """Times that in UTC are before the year 1 or after 9999."""
    before = await snapshot(ctx)
    for call in (
        lambda: ctx.faces.add(user, face(person_facen(1), timestamp=moment)),
        lambda: ctx.persons.add(user, {"created": moment}),
        lambda: ctx.cameras.add(user, {"id": "door", "since": [moment]}),
        lambda: ctx.users.add({"since": moment}),
    ):
        with pytest.raises(BadValueError, match="9999"):
            await call()
    assert await snapshot(ctx) == before


async def test_refuses_values_that_mongodb_cannot_store(ctx: Context, user: User) -> None:
    """Too deep, too large, UUIDs, lone surrogates, objects: nothing is stored."""
    before = await snapshot(ctx)
    for value in (nested(2000), "x" * 17_000_000, uuid4(), "\ud800", object(), {"\ud800": 1}, 2**64):
        with pytest.raises(BadValueError):
            await ctx.cameras.add(user, {"id": "door", "extra": value})
        with pytest.raises(BadValueError):
            await ctx.faces.add(user, face(person_facen(1), extra=value))
    assert await snapshot(ctx) == before


@pytest.mark.parametrize(
    "update",
    [
        *(
            {"$unset": {"token": ""}},
            {"$set": {"token": 5}},
            {"$set": {"token": ""}},
            {"$set": {"active": 1}},
        ),
        *({"$rename": {"note": "token"}}, {"$rename": {"token": "note"}}),
    ],
)
async def test_an_update_cannot_remove_or_break_a_token(
    ctx: Context, user: User, update: dict[str, Any]
) -> None:
    """No update removes a user's token or makes it invalid."""
    with pytest.raises(BadValueError):
        await ctx.users.update_one({"_id": user["_id"]}, update)
    assert await ctx.users.authenticate(user["token"]) == user


async def test_no_token_authenticates_a_user_without_one(ctx: Context, user: User) -> None:
    """For users changed in the database directly."""
    for token in (None, 5, ["x"]):
        await ctx.database["users"].update_one({"_id": user["_id"]}, {"$set": {"token": token}})
        with pytest.raises(AuthenticationError):
            await ctx.users.authenticate(str(token))


async def test_a_taken_token_is_in_no_traceback(ctx: Context) -> None:
    """MongoDB's message contains it; the error and its causes do not."""
    await ctx.users.add({"token": "geheim-geheim"})
    other = await ctx.users.add({})
    for call in (
        lambda: ctx.users.add({"token": "geheim-geheim"}),
        lambda: ctx.users.update_one({"_id": other["_id"]}, {"$set": {"token": "geheim-geheim"}}),
    ):
        with pytest.raises(ConflictError) as caught:
            await call()
        text = "".join(traceback.format_exception(caught.value))
        assert "dup key" not in text
        assert 'token: "geheim' not in text

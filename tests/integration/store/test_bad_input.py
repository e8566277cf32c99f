"""Bad input: one documented error that says what was expected, and nothing half-written."""

import base64
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from bson import ObjectId

from pipeline.types import Rectangle
from store import (
    AuthenticationError,
    BadFilterError,
    BadValueError,
    ConflictError,
    Context,
    GalleryError,
    Image,
    ImageError,
    NotFoundError,
    User,
)
from store.enrolment import Enrolment, EnrolmentSettings, candidates
from tests.facens import extraction_face, face, person_facen, stored
from tests.mongo import StoreArguments
from tests.sightings import photo
from tests.store_checks import files_below


@pytest.fixture
async def user(ctx: Context) -> User:
    return await ctx.users.add({})


async def snapshot(ctx: Context) -> dict[str, list[Any]]:
    """Everything that is stored."""
    names = ("users", "faces", "galleries", "cameras", "persons", "counters")
    return {name: await ctx.database[name].find().sort("_id", 1).to_list(None) for name in names}


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"a": value}
    return value


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
    """No mapping, unknown operators, malformed arguments, values that MongoDB cannot hold."""
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
    """In a new face or person, in a face's person, in a question, and in an update."""
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
    """By the store, the search and the question for a person, in the same words."""
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
    """Of galleries, cameras, persons and users, when they are made and when they are changed."""
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


async def test_a_missing_gallery_is_not_found_anywhere(ctx: Context, user: User) -> None:
    """In adding, in the search and in the question for a person; the name is in the message."""
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


async def test_a_gallery_that_another_process_removed_is_missed_soon(store_settings: StoreArguments) -> None:
    """Within a second of its removal it does not exist for us either."""
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
    """In a search and in find and count, where None means no limit."""
    given = extraction_face(person_facen(1))
    with pytest.raises(BadValueError, match="from 1"):
        await ctx.faces.identify(user, "default", given, limit, 0.5)
    if limit is not None:
        for call in (ctx.faces.find, ctx.faces.count):
            with pytest.raises(BadFilterError, match="from 1"):
                await call(user, None, limit=limit)


async def test_a_huge_limit_gives_all_there_is(ctx: Context, user: User) -> None:
    """The largest limit that is allowed costs nothing."""
    for number in range(3):
        await stored(ctx, user, person_facen(number), ["default"])
    given = extraction_face(person_facen(0))
    assert len(await ctx.faces.identify(user, "default", given, 2**31 - 1, 0.0)) == 3
    assert len(await ctx.faces.find(user, None, limit=2**31 - 1)) == 3


@pytest.mark.parametrize("threshold", [-0.001, 1.001, float("nan"), float("inf"), "0.5", None, True])
async def test_a_threshold_is_a_confidence(ctx: Context, user: User, threshold: Any) -> None:
    """From 0 to 1, for faces and persons; nobody is made."""
    given = extraction_face(person_facen(1))
    with pytest.raises(BadValueError, match="from 0 to 1"):
        await ctx.faces.identify(user, "default", given, 1, threshold)
    with pytest.raises(BadValueError, match="from 0 to 1"):
        await ctx.persons.identify(user, given, "default", threshold, create=True)
    assert await ctx.persons.count(user, None) == 0


@pytest.mark.parametrize(
    "change",
    [
        *({"meta": 5}, {"score": float("nan")}, {"score": "good"}, {"age": True}, {"timestamp": 5}),
        *({"cam_id": 5}, {"photo_hash": b"x"}, {"x1": float("inf")}, {"x2": "3"}),
        *({"gallery": ["vip"]}, {"galleries": ["vip"]}, {"id": 7}, {"bbox": [1, 2, 3, 4]}, {"schema": 99}),
    ],
)
async def test_an_update_leaves_a_face_a_face(ctx: Context, user: User, change: dict[str, Any]) -> None:
    """No update makes one of its fields something else, or hides one behind its other name."""
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


async def test_values_that_mongodb_cannot_hold_are_refused(ctx: Context, user: User) -> None:
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
async def test_a_user_keeps_a_token(ctx: Context, user: User, update: dict[str, Any]) -> None:
    """No update takes it away or makes it something that is none."""
    with pytest.raises(BadValueError):
        await ctx.users.update_one({"_id": user["_id"]}, update)
    assert await ctx.users.authenticate(user["token"]) == user


async def test_a_user_without_a_token_is_nobodys_guess(ctx: Context, user: User) -> None:
    """Where the database was changed by hand: no text is the token of a user who has none."""
    for token in (None, 5, ["x"]):
        await ctx.database["users"].update_one({"_id": user["_id"]}, {"$set": {"token": token}})
        with pytest.raises(AuthenticationError):
            await ctx.users.authenticate(str(token))


async def test_a_taken_token_is_in_no_traceback(ctx: Context) -> None:
    """MongoDB's own message holds it; ours, with everything behind it, does not."""
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


async def test_pictures_go_to_the_owners_folder_alone(ctx: Context, store_settings: StoreArguments) -> None:
    """A URL of somebody else's picture is refused, or replaced by one's own; inactive owners upload none."""
    uploads = store_settings.data_dir / "uploads"
    one, other = await ctx.users.add({}), await ctx.users.add({})
    theirs = await ctx.faces.add(other, face(person_facen(1)))
    await ctx.faces.upload(theirs, Image(photo()))
    before = {path: path.read_bytes() for path in files_below(uploads)}
    mine = await ctx.faces.add(one, face(person_facen(2)))
    with pytest.raises(BadValueError, match="somebody else"):
        await ctx.faces.upload_thumbnail(mine, Image(photo(9)), url=theirs["thumbnail"])
    mine["photo"] = theirs["photo"]
    await ctx.faces.upload(mine, Image(photo(9)))
    assert {path: path.read_bytes() for path in before} == before
    assert mine["photo"] != theirs["photo"]
    await ctx.users.update_one({"_id": one["_id"]}, {"$set": {"active": False}})
    for upload in (ctx.faces.upload, ctx.faces.upload_thumbnail):
        with pytest.raises(AuthenticationError):
            await upload(mine, Image(photo()))


@pytest.mark.parametrize(
    "picture", [b"", b"GIF89a", b"\0" * 5000, photo()[:200], np.zeros((0, 3, 3), np.uint8)]
)
async def test_what_is_no_picture_is_not_uploaded(
    ctx: Context, store_settings: StoreArguments, user: User, picture: Any
) -> None:
    """Empty, cut short, no picture: an ImageError, and no file, not even a part of the three."""
    made = face(person_facen(1))
    made["bbox"] = Rectangle(10, 10, 50, 50)
    await ctx.faces.add(user, made)
    for upload in (ctx.faces.upload, ctx.faces.upload_thumbnail):
        with pytest.raises(ImageError):
            await upload(made, Image(picture))
        with pytest.raises(ImageError, match=r"store\.Image"):
            await upload(made, picture)
        with pytest.raises(BadValueError, match="mapping"):
            await upload(None, Image(photo()))  # type: ignore[arg-type]  # wrong on purpose
    assert files_below(store_settings.data_dir / "uploads") == set()


async def test_a_gallery_name_is_malformed_everywhere_in_the_same_words(ctx: Context, user: User) -> None:
    """In adding, removing, the search and the question for a person."""
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


async def test_a_picture_with_an_unreadable_name_is_refused_and_the_others_go_on(
    ctx: Context, user: User, tmp_path: Path
) -> None:
    """Control characters in the name of a file or of a person's folder, at enrolment."""
    folder = tmp_path / "people"
    (folder / "An\x1bn").mkdir(parents=True)
    for name in ("a\nb.png", "An\x1bn/1.png", "plain.png"):
        (folder / name).touch()
    enrolment = Enrolment(ctx, user, EnrolmentSettings("staff", "opencv-zoo", 0.8))
    outcomes = {one.label: one async for one in enrolment.run(candidates(folder))}
    assert {one.result for one in outcomes.values()} == {"refused"}
    assert "control characters" in outcomes["a\nb.png"].reason
    assert "control characters" in outcomes["An\x1bn/1.png"].reason
    assert "control characters" not in outcomes["plain.png"].reason
    assert await ctx.persons.count(user, None) == 0

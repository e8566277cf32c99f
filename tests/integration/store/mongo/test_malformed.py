"""Malformed documents are skipped by every reader, counted, logged once, and reported by the doctor."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pymongo
import pytest
import structlog
from bson import DatetimeMS, ObjectId

from pipeline.faces.facen import encode
from store import Context, User
from store.facens.sync import change_stream as following
from store.mongo.shapes import SHAPES
from store.settings import RetentionSettings
from store.upkeep.doctor.doctor import Doctor
from store.upkeep.doctor.findings import FindingKind
from store.upkeep.retention import Retention
from tests.facens import face, person_facen, stored
from tests.mongo import StoreArguments

FACEN = encode(person_facen(3))
FACES: dict[str, dict[str, Any]] = {
    "no owner": {"_id": 7, "owner": ...},
    "_id is an ObjectId": {"_id": ObjectId()},
    "_id is text": {"_id": "abc"},
    "_id is a float": {"_id": 5.0},
    "_id is negative": {"_id": -5},
    "_id is a mapping": {"_id": {"a": 1}},
    "owner is text": {"_id": 7, "owner": "me"},
    "gallery is a number": {"_id": 7, "gallery": 5},
    "gallery is text": {"_id": 7, "gallery": "default"},
    "gallery holds a number": {"_id": 7, "gallery": [5]},
    "facen is bytes": {"_id": 7, "facen": b"xx"},
    "detector_info is text": {"_id": 7, "detector_info": "x"},
    "schema is text": {"_id": 7, "schema": "x"},
    "schema is nothing": {"_id": 7, "schema": None},
    "no schema, gallery is text": {"_id": 7, "schema": ..., "gallery": "default"},
    "timestamp is text": {"_id": 7, "timestamp": "x"},
    "timestamp in the year 30000": {"_id": 7, "timestamp": DatetimeMS(2**50)},
    "bbox of the face object": {"_id": 7, "bbox": 5},
    "person_id is text": {"_id": 7, "person_id": "x"},
}
USE: dict[str, Any] = {
    **dict.fromkeys(("location", "box", "machine", "address"), "x"),
    "owner": ObjectId(),
    "seen": datetime.now(UTC),
}
REMOVAL: dict[str, Any] = {
    "key": f"{ObjectId()}/20260301/7_0123456789ab_photo.jpeg",
    "location": None,
    "face": 7,
    "owner": ObjectId(),
}
OTHERS: list[tuple[str, dict[str, Any]]] = [
    ("users", {"_id": "text", "token": "t", "active": True}),
    ("users", {"active": True}),
    ("users", {"token": ["a"], "active": True}),
    ("galleries", {"name": "staff"}),
    ("galleries", {"owner": "me", "name": "staff"}),
    ("galleries", {"owner": ObjectId(), "name": 5}),
    ("cameras", {"owner": ObjectId(), "id": 5}),
    ("cameras", {"id": "x"}),
    ("persons", {"_id": "x", "owner": ObjectId()}),
    ("persons", {"_id": 5, "owner": ObjectId(), "founding": 5}),
    ("person_changes", {"_id": 5, "owner": ObjectId(), "state": "begun"}),
    ("person_proposals", {"owner": ObjectId()}),
    ("facens", {"_id": "another", "name": 5}),
    ("job_runs", {"_id": "box retention", "at": "yesterday"}),
    ("counters", {"_id": 5, "seq": 1}),
    ("erased", {"_id": "x"}),
    ("upload_locations", {"owner": ObjectId()}),
    *(("upload_locations", {**USE, name: ["x"]}) for name in ("location", "box", "machine", "address")),
    ("upload_locations", {**USE, "seen": DatetimeMS(2**60)}),
    ("picture_removals", {"location": None, "key": REMOVAL["key"]}),
    *(
        ("picture_removals", {**REMOVAL, "key": key})
        for key in (5, "facend-location", "../../etc/passwd", "")
    ),
    ("picture_removals", {**REMOVAL, "location": 5}),
]


def document(user: User, fields: dict[str, Any]) -> dict[str, Any]:
    """A face of the user with some fields replaced; `...` takes one away."""
    whole = {"owner": user["_id"], "gallery": ["default"], "facen": FACEN, "schema": 1, **fields}
    return {key: value for key, value in whole.items() if value is not ...}


@pytest.fixture
def raw(store_settings: StoreArguments) -> Any:
    """The database by the driver itself, as another program has it."""
    with pymongo.MongoClient(store_settings.settings.url.get_secret_value()) as client:
        yield client[store_settings.settings.database]


async def kinds(ctx: Context, **options: bool) -> list[str]:
    """What doctor says about malformed documents and indexes."""
    return [
        f"{finding.subject}: {finding.detail}"
        async for finding in Doctor(ctx, timedelta()).findings(**options)
        if finding.kind in (FindingKind.MALFORMED, FindingKind.NO_INDEX)
    ]


@pytest.mark.parametrize("name", FACES)
async def test_the_store_opens_with_malformed_faces(
    store_settings: StoreArguments, raw: Any, name: str
) -> None:
    """They are skipped; the doctor reports them, and a repair does not change them."""
    async with store_settings.open() as ctx:
        user = await ctx.users.add({})
        sound = await stored(ctx, user, person_facen(1), ["default"])
    raw.faces.insert_one(document(user, FACES[name]))
    async with store_settings.open(facen_size=128, pack="opencv-zoo") as ctx:
        assert [one["_id"] for one in await ctx.faces.find(user, None)] == [sound["_id"]]
        found = await ctx.faces.identify(user, "default", sound, 5, 0.0)
        assert [one.face["_id"] for one in found] == [sound["_id"]]
        assert await ctx.faces.count(user, None) == 1
        assert len(await kinds(ctx, repair=True)) == 1
        await Retention(ctx, user, RetentionSettings(faces_days=1, pictures_days=1)).run()
    assert raw.faces.count_documents({}) == 2


async def test_the_change_stream_continues_after_malformed_faces(
    ctx: Context, user: User, store_settings: StoreArguments, raw: Any
) -> None:
    """Faces stored afterwards by other processes are found."""
    async with store_settings.open(load_facens=False) as other:
        for fields in FACES.values():
            raw.faces.delete_many({"_id": fields["_id"]})
            raw.faces.insert_one(document(user, fields))
        raw.faces.update_many({}, {"$set": {"gallery": [7]}})
        new = await stored(other, user, person_facen(2), ["staff"])
        async with asyncio.timeout(10):
            while await ctx.facens.ids(user["_id"], "staff") != [new["_id"]]:  # noqa: ASYNC110  another's doing
                await asyncio.sleep(0.01)
    assert ctx.facens_lifecycle.fault == ""


@pytest.mark.parametrize(("collection", "fields"), OTHERS)
async def test_a_malformed_document_of_any_collection_is_passed_over(
    store_settings: StoreArguments, raw: Any, collection: str, fields: dict[str, Any]
) -> None:
    async with store_settings.open(facen_size=128, pack="opencv-zoo") as ctx:
        user = await ctx.users.add({})
    raw[collection].insert_one({"schema": 1, **fields})
    async with store_settings.open(facen_size=128, pack="opencv-zoo") as ctx:
        assert (await ctx.users.authenticate(user["token"]))["_id"] == user["_id"]
        assert len(await kinds(ctx, repair=True)) == 1
        await ctx.malformed.search()
        assert ctx.malformed.counts == {name: float(name == collection) for name in SHAPES}
        assert await ctx.locations.remove_recorded() == 0
    assert raw[collection].count_documents(fields) >= 1


async def test_each_malformed_document_is_logged_once(ctx: Context, user: User, raw: Any) -> None:
    """Many at the same time are summarised."""
    raw.faces.insert_many([document(user, {"_id": f"face {number}"}) for number in range(30)])
    with structlog.testing.capture_logs() as logs:
        await ctx.malformed.search()
        await ctx.malformed.search()
    named = [entry for entry in logs if "fault" in entry]
    assert len(named) == 20 and len({entry["id"] for entry in named}) == 20
    assert [entry["number"] for entry in logs if "number" in entry] == [10]
    assert ctx.malformed.counts["faces"] == 30


async def test_the_store_opens_without_an_index_that_cannot_be_built(
    store_settings: StoreArguments, raw: Any
) -> None:
    """The doctor names it, and the next start after a correction builds it."""
    raw.users.drop()
    raw.users.insert_many([{"active": True}, {"active": True}])
    async with store_settings.open() as ctx:
        assert any("users.token_1" in one for one in await kinds(ctx))
        await ctx.users.add({})
    raw.users.delete_many({"token": {"$exists": False}})
    async with store_settings.open() as ctx:
        assert await kinds(ctx) == []
    assert "token_1" in raw.users.index_information()


async def test_a_malformed_user_does_not_count_as_deleted(ctx: Context, user: User, raw: Any) -> None:
    """A repair keeps all their faces."""
    await stored(ctx, user, person_facen(1), ["default"])
    raw.users.update_one({"_id": user["_id"]}, {"$unset": {"token": ""}})
    found = [finding.kind async for finding in Doctor(ctx, timedelta()).findings(repair=True)]
    assert FindingKind.MALFORMED in found and FindingKind.DELETED_USER not in found
    assert raw.faces.count_documents({}) == 1


async def test_a_malformed_face_keeps_its_pictures_and_its_person(ctx: Context, user: User, raw: Any) -> None:
    """Nothing is removed because a document that names it is malformed."""
    person = await ctx.persons.add(user, {"created": datetime(2020, 1, 1, tzinfo=UTC)})
    key = f"{user['_id']}/20200101/7_0123456789ab_photo.jpeg"
    url = await ctx.uploads.put(key, b"x", "image/jpeg")
    raw.faces.insert_one(document(user, {"_id": 7, "gallery": 5, "photo": url, "person_id": person["_id"]}))
    settings = RetentionSettings(faces_days=1, pictures_days=1, max_picture_bytes=1, persons_grace_seconds=0)
    await Retention(ctx, user, settings).run()
    _ = [finding async for finding in Doctor(ctx, timedelta()).findings(repair=True)]
    assert await ctx.uploads.get(key) == b"x" and raw.persons.count_documents({}) == 1


async def test_the_change_stream_restarts_after_a_drop(
    ctx: Context, user: User, store_settings: StoreArguments, raw: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends with the dropped collection; a new one starts, and storage and MongoDB are compared."""
    monkeypatch.setattr(following, "FIRST_PAUSE_SECONDS", 0.05)
    old = await stored(ctx, user, person_facen(1), ["staff"])
    raw.drop_collection("faces")
    async with store_settings.open(load_facens=False) as other:
        new = await stored(other, user, person_facen(2), ["staff"])
        async with asyncio.timeout(10):
            while await ctx.facens.ids(user["_id"], "staff") != [new["_id"]]:  # noqa: ASYNC110  another's doing
                await asyncio.sleep(0.01)
    assert old["_id"] != new["_id"]


async def test_a_programming_error_in_the_change_stream_is_reported(
    store_settings: StoreArguments, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the event loop's handler, which ends the daemon."""
    heard: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))
    with pytest.raises(ZeroDivisionError):
        async with store_settings.open() as ctx:
            user = await ctx.users.add({})
            monkeypatch.setattr(following, "_gallery_changes", lambda _: 1 // 0)
            await ctx.faces.add(user, face(person_facen(1)))
            await stored(ctx, user, person_facen(2), ["staff"])
            async with asyncio.timeout(10):
                while not heard:  # noqa: ASYNC110  the follower's doing
                    await asyncio.sleep(0.01)
    assert heard[0]["supervised"] == "following MongoDB's faces"

"""Faces in MongoDB and in their galleries."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from bson import ObjectId

from pipeline.types import Rectangle
from store import (
    BadValueError,
    ConflictError,
    Context,
    Face,
    FacenExistsError,
    FacenStorageError,
    GalleryError,
    NotFoundError,
    User,
)
from store.facens import LocalFacens
from store.mongo.ids import TimeOrderedIds
from tests.facens import face, person_facen, stored
from tests.mongo import StoreArguments


async def test_a_stored_face_is_returned_unchanged(ctx: Context, user: User) -> None:
    """Ids, base64, the box, lists, numbers and times with their zone are unchanged by MongoDB."""
    moment = datetime(2026, 3, 1, 14, 30, 0, 125_000, tzinfo=timezone(timedelta(hours=5)))
    made = face(person_facen(1), timestamp=moment, meta="Größe", person_id=2**62, detector_info={"yaw": 0.5})
    made["emotions"] = ("happy", "sad")
    added = await ctx.faces.add(user, made)
    assert added is made
    found = await ctx.faces.find_one(user, {"_id": made["_id"]})
    assert isinstance(found, Face)
    assert found == made
    assert found.document() == made.document()
    assert found.timestamp is not None and found.timestamp.utcoffset() is not None
    assert found.bbox == Rectangle(-3.5, 10.0, 96.25, 130.0)
    assert found["emotions"] == ("happy", "sad")
    assert found["galleries"] == []
    assert found["owner"] == user["_id"]


async def test_concurrent_additions_get_different_ids(ctx: Context, user: User) -> None:
    """Two hundred faces are stored, with ids that increase with time."""
    faces = [face(person_facen(number % 5)) for number in range(200)]
    await asyncio.gather(*(ctx.faces.add(user, made) for made in faces))
    assert len({made["_id"] for made in faces}) == 200
    assert await ctx.faces.count(user, None) == 200
    later = await ctx.faces.add(user, face(person_facen(1)))
    assert later["_id"] > max(made["_id"] for made in faces)


class StuckIds(TimeOrderedIds):
    """Gives prepared ids."""

    def __init__(self, ids: list[int]) -> None:
        super().__init__()
        self.ids = ids

    def next(self) -> int:
        return self.ids.pop(0)


async def test_retries_conflicting_ids_three_times(ctx: Context, user: User) -> None:
    """The fourth id succeeds; a fourth conflict is an error and leaves the face without an id."""
    await ctx.faces.add(user, face(person_facen(1), _id=5))
    ctx.faces._ids = StuckIds([5, 5, 5, 6, 5, 5, 5, 5, 7])
    assert (await ctx.faces.add(user, face(person_facen(2))))["_id"] == 6
    made = face(person_facen(3))
    with pytest.raises(ConflictError, match="4 new ids"):
        await ctx.faces.add(user, made)
    assert "_id" not in made
    assert await ctx.faces.count(user, None) == 2


async def test_a_supplied_id_in_use_fails_at_once(ctx: Context, user: User) -> None:
    """It is never replaced, and the other face is not changed."""
    await ctx.faces.add(user, face(person_facen(1), _id=5, meta="first"))
    with pytest.raises(ConflictError, match="5"):
        await ctx.faces.add(user, face(person_facen(2), _id=5, meta="second"))
    (only,) = await ctx.faces.find(user, None)
    assert only["meta"] == "first"


async def test_a_sighting_is_stored_once(ctx: Context, user: User) -> None:
    """A second face of a sighting is a conflict that names the field; other owners are not affected."""
    await ctx.faces.add(user, face(person_facen(1), sighting_id="s1"))
    with pytest.raises(ConflictError) as caught:
        await ctx.faces.add(user, face(person_facen(1), sighting_id="s1"))
    assert caught.value.fields == ("owner", "sighting_id")
    await ctx.faces.add(await ctx.users.add({}), face(person_facen(1), sighting_id="s1"))
    assert await ctx.faces.count(user, None) == 1


async def test_a_new_face_is_in_no_gallery(ctx: Context, user: User) -> None:
    """Even if the object names a gallery or an owner."""
    made = await ctx.faces.add(user, face(person_facen(1), gallery=["default"], owner=ObjectId()))
    assert made["gallery"] == []
    assert made["owner"] == user["_id"]
    assert await ctx.facens.count(user["_id"], "default") == 0


@pytest.mark.parametrize("wrong", [None, {}, 5, {"facen": "AAAA"}])
async def test_add_refuses_invalid_faces(ctx: Context, user: User, wrong: Any) -> None:
    """Nothing is stored."""
    with pytest.raises(BadValueError):
        await ctx.faces.add(user, wrong)
    odd = face(person_facen(1))
    odd["x.y"] = 1
    with pytest.raises(BadValueError):
        await ctx.faces.add(user, odd)
    odd = face(person_facen(1), extra=object())
    with pytest.raises(BadValueError):
        await ctx.faces.add(user, odd)
    assert "_id" not in odd
    assert await ctx.faces.count(user, None) == 0


async def test_adds_to_galleries_and_removes_from_them(ctx: Context, user: User) -> None:
    """Storage, document and object agree after each step; removing an absent face succeeds."""
    made = await stored(ctx, user, person_facen(1), ["default", "vip"])
    assert made.galleries == ["default", "vip"]
    assert (await ctx.faces.find_one(user, {"gallery": "vip"})) == made
    assert await ctx.facens.ids(user["_id"], "vip") == [made["_id"]]
    await ctx.faces.del_from_galleries(made, ["vip"])
    await ctx.faces.del_from_galleries(made, ["vip"])
    assert made.galleries == ["default"]
    assert await ctx.facens.count(user["_id"], "vip") == 0
    assert await ctx.faces.count(user, {"gallery": "vip"}) == 0


async def test_adding_twice_is_an_error_and_other_galleries_are_completed(ctx: Context, user: User) -> None:
    """The face is added to the other galleries, and these are recorded."""
    made = await stored(ctx, user, person_facen(1), ["default"])
    await ctx.galleries.add(user, "vip")
    with pytest.raises(FacenExistsError):
        await ctx.faces.add_to_galleries(made, ["default", "vip"])
    assert made.galleries == ["default", "vip"]
    assert await ctx.facens.count(user["_id"], "vip") == 1


class BrokenShard(LocalFacens):
    """A storage in which one gallery's shard is out of service."""

    broken = ""

    async def add(self, owner: ObjectId, gallery: str, *args: Any) -> None:
        self._check(gallery)
        await super().add(owner, gallery, *args)

    async def remove(self, owner: ObjectId, gallery: str, face_id: int) -> bool:
        self._check(gallery)
        return await super().remove(owner, gallery, face_id)

    def _check(self, gallery: str) -> None:
        if gallery == self.broken:
            raise FacenStorageError(f"shard 2 does not answer about {gallery}", "shard 2")


async def test_successes_are_recorded_before_a_shards_error(store_settings: StoreArguments) -> None:
    """The other galleries are changed in both stores before the error, which names the shard."""
    shards = BrokenShard()
    async with store_settings.open(facens=shards) as ctx:
        user = await ctx.users.add({})
        made = await stored(ctx, user, person_facen(1), [])
        for name in ("a", "b", "c"):
            await ctx.galleries.add(user, name)
        shards.broken = "b"
        with pytest.raises(FacenStorageError) as caught:
            await ctx.faces.add_to_galleries(made, ["a", "b", "c"])
        assert caught.value.shard == "shard 2"
        assert made.galleries == ["a", "c"]
        shards.broken = "a"
        with pytest.raises(FacenStorageError):
            await ctx.faces.del_from_galleries(made, ["a", "c"])
        found = await ctx.faces.find_one(user, None)
        assert found is not None
        assert found.galleries == made.galleries == ["a"]


async def test_refuses_galleries_for_a_face_that_is_not_stored(ctx: Context, user: User) -> None:
    """A face without an id, or unknown to MongoDB; the facen storage is unchanged."""
    with pytest.raises(BadValueError):
        await ctx.faces.add_to_galleries(face(person_facen(1)), ["default"])
    with pytest.raises(NotFoundError):
        await ctx.faces.add_to_galleries(face(person_facen(1), _id=1, owner=user["_id"]), ["default"])
    assert await ctx.facens.count(user["_id"], "default") == 0


@pytest.mark.parametrize("wrong", ["default", [], None, 5, ["no such gallery"], ["ok", "a" * 49], [5]])
async def test_malformed_gallery_lists_change_nothing(ctx: Context, user: User, wrong: Any) -> None:
    """Text instead of a list, no list, or an invalid name."""
    made = await stored(ctx, user, person_facen(1), ["ok"])
    with pytest.raises(GalleryError):
        await ctx.faces.add_to_galleries(made, wrong)
    assert made.galleries == ["ok"]


async def test_a_gallery_that_does_not_exist_is_an_error(ctx: Context, user: User) -> None:
    """Nothing is added, not even to existing galleries. Another user's gallery does not exist."""
    await ctx.galleries.add(await ctx.users.add({}), "theirs")
    made = await stored(ctx, user, person_facen(1), [])
    with pytest.raises(NotFoundError, match="theirs"):
        await ctx.faces.add_to_galleries(made, ["default", "theirs"])
    assert made.galleries == []
    assert await ctx.facens.count(user["_id"], "default") == 0


async def test_galleries_and_facens_change_by_their_methods_only(ctx: Context, user: User) -> None:
    """Updates that would make MongoDB and the facen storage inconsistent are refused."""
    made = await stored(ctx, user, person_facen(1), ["default"])
    for field, value in (("gallery", []), ("facen", "AAAA"), ("owner", ObjectId()), ("_id", 1)):
        with pytest.raises(BadValueError, match=field):
            await ctx.faces.update_one(user, {"_id": made["_id"]}, {"$set": {field: value}})
    changed = await ctx.faces.update_one(user, {"_id": made["_id"]}, {"$set": {"meta": "new"}})
    assert changed is not None
    assert changed["meta"] == "new"


async def test_a_removed_face_is_not_found(ctx: Context, user: User) -> None:
    """It is removed from the facen storage as well."""
    made = await stored(ctx, user, person_facen(1), ["default"])
    assert await ctx.faces.remove_one(user, {"_id": made["_id"]}) == made
    assert await ctx.faces.remove_one(user, {"_id": made["_id"]}) is None
    assert await ctx.facens.count(user["_id"], "default") == 0


async def test_update_many_returns_the_changed_faces(ctx: Context, user: User) -> None:
    """In the order of the sort, after or before the change."""
    for number in range(5):
        await ctx.faces.add(user, face(person_facen(number), _id=number, score=-float(number)))
    changed = await ctx.faces.update_many(user, {"score": {"$lt": -1}}, {"$set": {"meta": "x"}}, {"_id": -1})
    assert [(one["_id"], one["meta"]) for one in changed] == [(4, "x"), (3, "x"), (2, "x")]
    before = await ctx.faces.update_many(user, {"meta": "x"}, {"$set": {"meta": "y"}}, return_document=False)
    assert {one["meta"] for one in before} == {"x"}
    assert await ctx.faces.count(user, {"meta": "y"}) == 3


async def test_find_sorts_skips_and_limits(ctx: Context, user: User) -> None:
    """As in MongoDB; count uses the same arguments."""
    for number in range(6):
        await ctx.faces.add(user, face(person_facen(number), _id=number))
    assert [one["_id"] for one in await ctx.faces.find(user, None, {"_id": -1}, 1, 3)] == [4, 3, 2]
    first = await ctx.faces.find_one(user, None, {"_id": -1}, 2)
    assert first is not None
    assert first["_id"] == 3
    assert await ctx.faces.count(user, {"_id": {"$gt": 1}}, skip=1, limit=2) == 2
    assert await ctx.faces.find(user, {"_id": 99}) == []


async def test_the_facen_storage_is_loaded_at_the_start(store_settings: StoreArguments) -> None:
    """A second context on the same database finds the faces of the first; invalid facens are skipped."""
    async with store_settings.open() as ctx:
        user = await ctx.users.add({})
        made = [await stored(ctx, user, person_facen(number), ["default", "g"]) for number in range(5)]
        await ctx.faces._collection.insert_one(
            {"_id": 1, "owner": user["_id"], "gallery": ["g"], "facen": "broken"}
        )
    async with store_settings.open(facen_size=128) as ctx:
        assert await ctx.facens.ids(user["_id"], "g") == sorted(one["_id"] for one in made)
        (hit,) = await ctx.faces.identify(user, "g", made[2], 1, 0.99)
        assert hit.face == made[2]
    async with store_settings.open(facen_size=512) as ctx:
        assert await ctx.facens.count(user["_id"], "g") == 0
        assert datetime.now(UTC) - datetime.fromisoformat(made[0]["timestamp"]) < timedelta(minutes=5)

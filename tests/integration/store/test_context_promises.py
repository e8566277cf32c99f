"""The promises of the original's reference, used as in a script written against it."""

import asyncio
import inspect
from collections import OrderedDict
from typing import Any

import pytest
from bson import ObjectId
from pydantic import SecretStr
from pymongo import MongoClient, ReadPreference, ReturnDocument

from pipeline.extractor import FaceExtractor
from pipeline.faces.facen import decode
from pipeline.types import Facen, Rectangle
from store import (
    Camera,
    Context,
    Face,
    Gallery,
    IdentifyResult,
    Image,
    ImageError,
    Person,
    StoreError,
    User,
)
from store.facens import LocalFacens
from store.mongo.indexes import INDEXES
from tests.facens import extraction_face, face, like, person_facen, stored
from tests.faces import default_models, sample_path
from tests.mongo import StoreArguments


async def test_a_mongo_store_is_queried_without_a_user(ctx: Context) -> None:
    """find, find_one, count, remove_one and update_one of MongoStore, with sort, skip and limit."""
    for number in range(5):
        await ctx.users.add({"number": number})
    users = ctx.users
    found = await users.find({"number": {"$gt": 0}}, sort={"number": -1}, skip=1, limit=2)
    assert [one["number"] for one in found] == [3, 2]
    assert all(type(one) is users.Model for one in found)
    assert [one["number"] for one in await users.find(None, "number")] == [0, 1, 2, 3, 4]
    first = await users.find_one(None, [("number", -1)], 1)
    assert first is not None and first["number"] == 3
    assert await users.find_one({"number": 99}) is None
    assert await users.count({"number": {"$lt": 4}}, None, 1, 2) == 2
    removed = await users.remove_one(None, sort={"number": -1})
    assert removed is not None and (type(removed), removed["number"]) == (users.Model, 4)
    assert await users.remove_one({"number": 4}) is None
    assert await users.count(None) == 4


async def test_update_one_returns_the_object_after_or_before(ctx: Context, user: User) -> None:
    """AFTER is the default; the first by the sort is updated; array_filters are passed on; None without a
    match."""
    for number in range(3):
        await ctx.cameras.add(user, {"id": f"c{number}", "parts": [{"n": 1}, {"n": 2}]})
    cameras = ctx.cameras
    after = await cameras.update_one(user, None, {"$set": {"floor": 1}}, sort={"id": -1})
    assert after is not None and (type(after), after["id"], after["floor"]) == (Camera, "c2", 1)
    before = await cameras.update_one(user, {"id": "c2"}, {"$set": {"floor": 2}}, None, ReturnDocument.BEFORE)
    assert before is not None and before["floor"] == 1
    person = await ctx.persons.add(user, {"parts": [{"n": 1}, {"n": 2}]})
    changed = await ctx.persons.update_one(
        user, {"_id": person["_id"]}, {"$set": {"parts.$[part].n": 9}}, array_filters=[{"part.n": 2}]
    )
    assert changed is not None and changed["parts"] == [{"n": 1}, {"n": 9}]
    assert await cameras.update_one(user, {"id": "none"}, {"$set": {"floor": 3}}) is None
    many = await cameras.update_many(user, {"id": {"$ne": "c1"}}, {"$set": {"floor": 4}}, {"id": 1})
    assert [(one["id"], one["floor"]) for one in many] == [("c0", 4), ("c2", 4)]
    assert all(type(one) is Camera for one in many)


async def test_remove_one_returns_the_removed_object(ctx: Context, user: User) -> None:
    """The first by the sort, as its model."""
    for name in ("a", "b"):
        await ctx.galleries.add(user, name)
    removed = await ctx.galleries.remove_one(user, None, sort={"name": -1})
    assert removed is not None and (type(removed), removed["name"]) == (Gallery, "b")


@pytest.mark.parametrize("kind", [dict, OrderedDict])
async def test_wrap_in_model_returns_the_collections_model(ctx: Context, kind: Any) -> None:
    """From a dictionary or ordered dictionary, keeping the order of fields."""
    for collection in (ctx.users, ctx.faces, ctx.galleries, ctx.cameras, ctx.persons, ctx.counters):
        model = collection.wrap_in_model(kind(_id=1, z=2, a=3))
        assert type(model) is type(collection).Model  # type: ignore[attr-defined]  # each one has it
        assert isinstance(model, OrderedDict)
        key = "id" if collection is ctx.faces else "_id"  # a face's keys are the face object's
        assert list(model.items()) == [(key, 1), ("z", 2), ("a", 3)]


async def test_each_object_has_its_documented_properties(ctx: Context, user: User) -> None:
    """Users, faces, galleries, cameras and persons, with the documented types."""
    assert isinstance(user["_id"], ObjectId)
    assert (type(user["token"]), type(user["active"])) == (str, bool)
    made = await stored(ctx, user, person_facen(1), ["default"])
    one = await ctx.faces.find_one(user, {"_id": made["_id"]})
    assert one is not None
    assert isinstance(one["_id"], int) and 0 <= one["_id"] < 2**64
    assert one["owner"] == user["_id"]
    assert decode(one["facen"], 128).shape == (128,)
    assert one["bbox"] == Rectangle(one["x1"], one["y1"], one["x2"], one["y2"])
    assert one["bbox"].left == -3.5
    assert (one["photo_hash"], one["gallery"], one["meta"]) == (made["photo_hash"], ["default"], None)
    gallery = await ctx.galleries.add(user["_id"], "vip")
    assert (type(gallery), gallery["owner"], gallery["name"]) == (Gallery, user["_id"], "vip")
    camera = await ctx.cameras.add(user["_id"], {"url": "rtsp://10.0.0.5/1"})
    assert (type(camera), camera["owner"]) == (Camera, user["_id"])
    person = await ctx.persons.add(user["_id"], {"note": "x"})
    assert (type(person), person["owner"], person["note"]) == (Person, user["_id"], "x")
    assert isinstance(person["_id"], int) and 0 <= person["_id"] < 2**64


async def test_the_references_example_works(store_settings: StoreArguments) -> None:
    """Extract a face, add it, add it to a gallery, upload its pictures, identify it."""
    async with store_settings.open(extractor=FaceExtractor(default_models()), facen_size=128) as ctx:
        user = await ctx.users.add({"token": "secret", "active": True})
        data = sample_path("Tom_Hanks_54745.png").read_bytes()
        (eface,) = await ctx.extractor.extract(data)
        face = ctx.faces.Model.from_extraction_face(eface)
        face["meta"] = "an actor"
        face = await ctx.faces.add(user, face)
        await ctx.galleries.add(user, "actors")
        assert await ctx.faces.add_to_galleries(face, ["actors"]) is None  # type: ignore[func-returns-value]  # the promise
        await ctx.faces.upload(face, Image(data))
        results = await ctx.faces.identify(user["_id"], "actors", eface, limit=1, threshold=0.75)
        assert len(results) == 1
        assert results[0].face["meta"] == "an actor"
        assert results[0].face["photo_hash"] == Image(data).md5 == eface["photo_hash"]
        assert results[0].confidence == pytest.approx(1, abs=1e-5)
        with pytest.raises(ImageError, match="damaged"):
            await ctx.extractor.extract(data[: len(data) // 2])


async def test_extraction_without_models_is_an_error(ctx: Context) -> None:
    """Everything else works."""
    with pytest.raises(StoreError, match="without models"):
        await ctx.extractor.extract(b"")


async def test_regenerate_id_sets_a_later_id(ctx: Context, user: User) -> None:
    """`regenerate_id` changes the face and returns nothing."""
    made = await ctx.faces.add(user, face(person_facen(1)))
    before = made["_id"]
    assert await ctx.faces.regenerate_id(made) is None  # type: ignore[func-returns-value]  # the promise
    assert made["_id"] > before
    assert made["id"] == made.id == made["_id"]


class Watching(LocalFacens):
    """Notes which galleries MongoDB lists at the moment when the storage is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.ctx: Context
        self.seen: list[tuple[str, list[str]]] = []

    async def add(self, owner: ObjectId, gallery: str, face_id: int, facen: Facen) -> None:
        await self._note("add", face_id)
        await super().add(owner, gallery, face_id, facen)

    async def remove(self, owner: ObjectId, gallery: str, face_id: int) -> bool:
        await self._note("remove", face_id)
        return await super().remove(owner, gallery, face_id)

    async def _note(self, what: str, face_id: int) -> None:
        found = await self.ctx.database["faces"].find_one({"_id": face_id})
        self.seen.append((what, found["gallery"] if found else []))


async def test_the_facen_storage_is_changed_before_mongodb(store_settings: StoreArguments) -> None:
    """During an addition the document does not list the gallery yet; during a removal it still does."""
    watching = Watching()
    async with store_settings.open(facens=watching) as ctx:
        watching.ctx = ctx
        user = await ctx.users.add({})
        made = await stored(ctx, user, person_facen(1), ["a"])
        await ctx.faces.del_from_galleries(made, ["a"])
        assert watching.seen == [("add", []), ("remove", ["a"])]
        assert made.galleries == []


async def test_results_are_list_like_and_in_order(ctx: Context, user: User) -> None:
    """Length, index, slice and iteration; each item is a face and its confidence, a float, best first."""
    wanted = person_facen(0)
    for cosine in (0.3, 0.9, 0.6):
        await stored(ctx, user, like(wanted, cosine), ["g"])
    results = await ctx.faces.identify(user, ["g"], extraction_face(wanted), 2, 0.5, None, True)
    assert len(results) == len(list(results)) == len(results[:5]) == 2
    face_, confidence = results[0]
    assert isinstance(results[0], IdentifyResult)
    assert (type(face_), type(confidence)) == (Face, float)
    assert results[0].confidence > results[1].confidence
    assert (results.live_server, results.total_servers) == (1, 1)
    exact = await ctx.faces.identify(user, "g", results[1].face, 5, results[1].confidence)
    assert results[1].face in [one.face for one in exact]


async def test_is_friend_returns_a_bool(ctx: Context, user: User) -> None:
    """Also for unknown persons and cameras."""
    assert await ctx.persons.is_friend(user, 5, "nowhere") is False
    assert await ctx.persons.is_friend(user["_id"], None, "nowhere") is False


async def test_new_persons_skip_ids_in_use(ctx: Context, user: User) -> None:
    """After an import of persons with ids, the next person gets the first free id after them."""
    first = (await ctx.persons.add(user, {}))["_id"]
    for number in range(first + 1, first + 30):
        await ctx.persons.add(user, {"_id": number})
    assert (await ctx.persons.add(user, {}))["_id"] == first + 30
    made = await asyncio.gather(*(ctx.persons.add(user, {}) for _ in range(10)))
    assert sorted(one["_id"] for one in made) == list(range(first + 31, first + 41))


async def test_a_counter_is_shared_by_all_contexts(store_settings: StoreArguments) -> None:
    """Two contexts on one database never get the same number."""
    async with store_settings.open(load_facens=False) as one, store_settings.open(load_facens=False) as other:
        await one.counters.ensure("tickets")
        numbers = await asyncio.gather(
            *(ctx.counters.next("tickets") for _ in range(50) for ctx in (one, other))
        )
        assert sorted(numbers) == list(range(1, 101))


async def test_writes_wait_for_a_majority_regardless_of_the_url(store_settings: StoreArguments) -> None:
    """Write concern, journal, retries and the primary are fixed."""
    url = store_settings.settings.url.get_secret_value()
    weak = f"{url}{'&' if '?' in url else '/?'}w=0&retryWrites=false&readPreference=secondary"
    settings = store_settings.settings.model_copy(update={"url": SecretStr(weak)})
    async with Context.open(settings, data_dir=store_settings.data_dir) as ctx:
        assert ctx.database.write_concern.document == {"w": "majority", "j": True}
        assert ctx.database.read_preference == ReadPreference.PRIMARY
        assert ctx.database.client.options.retry_writes is True
        assert ctx.database.client.options.retry_reads is True
        collections = (ctx.users, ctx.faces, ctx.galleries, ctx.cameras, ctx.persons, ctx.counters)
        for collection in collections:
            assert collection._collection.write_concern.document == {"w": "majority", "j": True}


async def test_indexes_are_created_once(store_settings: StoreArguments) -> None:
    """Opened three times concurrently and once again, the store has the same indexes."""

    def indexes() -> dict[str, Any]:
        with MongoClient(store_settings.settings.url.get_secret_value()) as client:
            database = client[store_settings.settings.database]
            return {name: database[name].index_information() for name in INDEXES}

    async def opened() -> None:
        async with store_settings.open():
            pass

    await asyncio.gather(opened(), opened(), opened())
    first = indexes()
    assert {name: len(found) - 1 for name, found in first.items()} == {
        name: len(wanted) for name, wanted in INDEXES.items()
    }
    await opened()
    assert indexes() == first


def test_the_context_has_every_collection() -> None:
    """`ctx.users, ctx.faces, ctx.galleries, ctx.cameras, ctx.persons, ctx.counters, ctx.extractor`."""
    wanted = {"users", "faces", "galleries", "cameras", "persons", "counters", "extractor"}
    assert wanted <= set(inspect.get_annotations(Context))

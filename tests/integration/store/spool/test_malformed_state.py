"""Malformed documents of the box's own gallery, counter and persons: sightings wait, and none becomes a dead
letter."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pymongo
import pytest
from bson import ObjectId

from store.collections.users import User
from store.context import Context
from store.errors import StoreStateError
from store.spool.spool import Spool
from tests.integration.store.recorders import Running, recording
from tests.mongo import StoreArguments
from tests.sightings import sighting

SECONDS = 20
WRONG: Mapping[str, list[Any]] = {
    "schema": ["x", None, 1000],
    "name": [5, ["default"]],
    "owner": ["me"],
    "seq": ["x", 1.5, 2**63 - 1, 2**63 - 2, -5, None, True],
    "created": ["yesterday", 5],
    "founding": [5, {}, {"facen": 5}],
    "faceless_since": ["x"],
    "sighting_id": [5],
}
FIELDS = {
    "galleries": ("schema", "name", "owner"),
    "counters": ("schema", "seq"),
    "persons": ("schema", "name", "owner", "created", "founding", "faceless_since", "sighting_id"),
}
CASES = [
    (name, field, value) for name, fields in FIELDS.items() for field in fields for value in WRONG[field]
]


@pytest.fixture
def raw(store_settings: StoreArguments) -> Any:
    """The database by the driver itself, as another program has it."""
    with pymongo.MongoClient(store_settings.settings.url.get_secret_value()) as client:
        yield client[store_settings.settings.database]


async def stored_or_waiting(running: Running) -> None:
    """Returns when everything is stored, or when the recorder reports why it is not."""
    async with asyncio.timeout(SECONDS):
        while running.recorder.fault is None:
            done = asyncio.create_task(running.recorder.drained())
            await asyncio.wait({done}, timeout=0.05)
            if done.done():
                return
            done.cancel()


async def record(ctx: Context, user: User, spool: Spool) -> None:
    async with recording(ctx, user, spool) as running:
        await asyncio.wait_for(running.recorder.drained(), SECONDS)


@pytest.mark.parametrize(("collection", "field", "value"), CASES)
async def test_sightings_wait_for_a_correction(
    ctx: Context, user: User, spool: Spool, raw: Any, collection: str, field: str, value: Any
) -> None:
    """The recorder's fault has the reason; after the correction they are stored. A counter is corrected by
    the recorder."""
    spool.put(sighting(1))
    await record(ctx, user, spool)
    before = list(raw[collection].find())
    broken = {"name": "default"} if collection == "galleries" else {}
    raw[collection].update_one(broken, {"$set": {field: value}})
    ids = {spool.put(sighting(person, 1)) for person in (1, 2, 3)}
    async with recording(ctx, user, spool) as running:
        await stored_or_waiting(running)
        if running.recorder.fault is not None:
            assert collection != "counters"
            assert collection in running.recorder.fault and "facend doctor" in running.recorder.fault
            assert field in running.recorder.fault
        for document in before:
            if collection == "galleries":  # one that was made in its place keeps its name
                raw.galleries.delete_many({"name": document["name"], "_id": {"$ne": document["_id"]}})
            if collection != "counters":
                raw[collection].replace_one({"_id": document["_id"]}, document)
        await asyncio.wait_for(running.recorder.drained(), SECONDS)
    assert not list((spool.folder / "dead").glob("*"))
    assert {event.sighting_id for event in running.events} == ids
    persons = await ctx.persons.find(user, None)
    assert all(0 < person["_id"] < 1000 for person in persons)
    assert len(persons) == len({person["_id"] for person in persons}) == 3


async def test_a_deleted_counter_restarts_after_all_used_ids(
    ctx: Context, user: User, spool: Spool, raw: Any
) -> None:
    """Including those of erased and merged persons; much larger ids given by callers do not count."""
    raw.counters.delete_one({"_id": "persons"})
    raw.erased.insert_one({"_id": 40, "owner": user["_id"]})
    raw.person_changes.insert_one({"_id": 1, "owner": user["_id"], "other": 41})
    raw.persons.insert_many([{"_id": 42, "owner": "malformed"}, {"_id": 2**62 + 5, "owner": user["_id"]}])
    spool.put(sighting(1))
    await record(ctx, user, spool)
    (face,) = await ctx.faces.find(user, None)
    assert face["person_id"] == 43


async def test_names_a_malformed_partly_stored_face(ctx: Context, user: User, spool: Spool, raw: Any) -> None:
    """Its sighting waits until the document is corrected or removed."""
    sighting_id = spool.put(sighting(1))
    raw.faces.insert_one({"_id": 7, "owner": user["_id"], "sighting_id": sighting_id, "schema": "x"})
    async with recording(ctx, user, spool) as running:
        await stored_or_waiting(running)
        assert running.recorder.fault is not None and "faces 7: its schema is text" in running.recorder.fault
        raw.faces.delete_one({"_id": 7})
        await asyncio.wait_for(running.recorder.drained(), SECONDS)
    assert not list((spool.folder / "dead").glob("*")) and len(running.events) == 1


async def test_names_a_malformed_person_of_the_sighting(
    ctx: Context, user: User, spool: Spool, raw: Any
) -> None:
    """Created by an attempt that crashed, and damaged since."""
    sighting_id = spool.put(sighting(1))
    raw.persons.insert_one({"_id": 7, "owner": user["_id"], "sighting_id": sighting_id, "created": "x"})
    async with recording(ctx, user, spool) as running:
        await stored_or_waiting(running)
        assert running.recorder.fault is not None and "persons 7: its created" in running.recorder.fault
        raw.persons.delete_one({"_id": 7})
        await asyncio.wait_for(running.recorder.drained(), SECONDS)
    assert not list((spool.folder / "dead").glob("*")) and len(running.events) == 1


async def test_ensure_names_the_malformed_gallery(ctx: Context, user: User, raw: Any) -> None:
    """With its id, the fault and a pointer to the doctor."""
    key = ObjectId()
    raw.galleries.insert_one({"_id": key, "owner": user["_id"], "name": "staff", "schema": "x"})
    with pytest.raises(StoreStateError, match=f"galleries .*{key}.*schema is text.*facend doctor"):
        await ctx.galleries.ensure(user, "staff")

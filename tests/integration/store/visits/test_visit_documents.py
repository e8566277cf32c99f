"""The documents of visits follow every change of their faces, with a real MongoDB."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from store.collections.users import User
from store.context import Context
from store.face import Face
from store.identity.changes import PersonChanges
from store.identity.erasure import Erasure
from store.identity.removal import FaceRemoval
from store.observer import UnobservedStore
from store.spool.spool import Spool
from store.visits import follow_faces as following
from store.visits.follow_faces import follow_faces
from store.visits.visit_documents import VisitDocuments
from tests.facens import face, person_facen
from tests.integration.store.recorders import recording
from tests.sightings import sighting

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


async def seen(ctx: Context, user: User, visit: str, **fields: Any) -> Face:
    """Store a face of a visit at the camera `door`."""
    made = face(person_facen(1), **{"cam_id": "door", **fields})
    made["timestamp"] = fields.get("timestamp", START)
    made["detector_info"] = {"visit_id": visit, **fields.get("detector_info", {})}
    return await ctx.faces.add(user, made)


async def visits(ctx: Context) -> list[dict[str, Any]]:
    return [one async for one in ctx.database["visits"].find({}, sort=[("id", 1)])]


async def only(ctx: Context) -> dict[str, Any]:
    (found,) = await visits(ctx)
    return found


@pytest.fixture
def changes(ctx: Context, user: User) -> PersonChanges:
    return PersonChanges(ctx, user, ctx.persons.rules.references)


async def test_a_visit_covers_its_faces(ctx: Context, user: User) -> None:
    """Start, end, camera, best face, person and evidence come from all faces of the visit."""
    person = await ctx.persons.add(user, {"name": "Anna"})
    first = {"visit_started_at": (START - timedelta(seconds=2)).isoformat(), "beside": ["door-2"]}
    await seen(ctx, user, "door-1", person_id=person["_id"], score=-0.5, detector_info=first)
    best = await seen(
        ctx,
        user,
        "door-1",
        person_id=person["_id"],
        score=-0.1,
        confidence=0.9,
        person_outcome="matched",
        friend=True,
        timestamp=START + timedelta(seconds=9),
    )
    await seen(ctx, user, "door-1", score=-0.3, person_outcome="withheld")
    found = await only(ctx)
    assert found["id"] == "door-1" and found["cam_id"] == "door" and found["faces"] == 3
    assert (found["start"], found["end"]) == (START - timedelta(seconds=2), START + timedelta(seconds=9))
    assert (found["best_face"], found["quality"], found["confidence"]) == (best["_id"], -0.1, 0.9)
    assert (found["person_id"], found["persons"]) == (person["_id"], [person["_id"]])
    assert found["named"] and found["friend"] and not found["reviewed"]
    assert (found["outcome"], found["co_visible"]) == ("matched", ["door-2"])
    assert "outdated" not in found


async def test_enrolled_pictures_are_no_visits(ctx: Context, user: User) -> None:
    """A face without a camera has no visit; a camera's face without a visit is one by itself."""
    await ctx.faces.add(user, face(person_facen(1)))
    alone = face(person_facen(1), cam_id="door")
    alone["timestamp"] = START
    added = await ctx.faces.add(user, alone)
    found = await only(ctx)
    assert found["id"] == str(added["_id"])
    await FaceRemoval(ctx, user).remove(added)
    assert await visits(ctx) == []


async def test_the_same_visit_id_at_two_cameras_is_two_visits(ctx: Context, user: User) -> None:
    """Otherwise a viewer of one camera would see what another one saw."""
    await seen(ctx, user, "v")
    await seen(ctx, user, "v", cam_id="yard")
    other = await ctx.users.add({})
    await seen(ctx, other, "v")
    assert sorted((one["cam_id"], one["owner"] == user["_id"]) for one in await visits(ctx)) == [
        ("door", False),
        ("door", True),
        ("yard", True),
    ]
    assert {one["faces"] for one in await visits(ctx)} == {1}


async def test_updates_and_removals_of_faces_change_the_visit(ctx: Context, user: User) -> None:
    """Also an update that moves a face to another camera or visit."""
    first = await seen(ctx, user, "door-1", score=-0.1)
    second = await seen(ctx, user, "door-1", score=-0.3)
    person = await ctx.persons.add(user, {})
    await ctx.faces.update_many(user, {"cam_id": "door"}, {"person_id": person["_id"], "friend": True})
    found = await only(ctx)
    assert found["persons"] == [person["_id"]] and found["friend"] and not found["named"]
    await ctx.faces.update_one(user, {"_id": first["_id"]}, {"detector_info": {"visit_id": "door-2"}})
    assert [(one["id"], one["faces"], one["best_face"]) for one in await visits(ctx)] == [
        ("door-1", 1, second["_id"]),
        ("door-2", 1, first["_id"]),
    ]
    await ctx.faces.update_one(user, {"_id": first["_id"]}, {"cam_id": "yard"})
    assert [one["cam_id"] for one in await visits(ctx)] == ["door", "yard"]
    await ctx.faces.remove_one(user, {"_id": first["_id"]})
    assert (await only(ctx))["id"] == "door-1"
    await ctx.persons.remove_one(user, {"_id": person["_id"]})
    assert (await only(ctx))["person_id"] is None


async def test_names_follow(ctx: Context, user: User, changes: PersonChanges) -> None:
    """A person who gets a name is known in all visits, and unknown again without it."""
    person = await ctx.persons.add(user, {})
    await seen(ctx, user, "door-1", person_id=person["_id"])
    await ctx.persons.update_one(user, {"_id": person["_id"]}, {"name": "Anna"})
    assert (await only(ctx))["named"]
    await changes.rename(person["_id"], "")
    assert not (await only(ctx))["named"]
    await changes.undo()
    assert (await only(ctx))["named"]


async def test_merge_split_undo_and_erasure_change_the_visits(
    ctx: Context, user: User, changes: PersonChanges
) -> None:
    """Each visit names the person that its faces belong to."""
    anna, bert = await ctx.persons.add(user, {"name": "Anna"}), await ctx.persons.add(user, {})
    await seen(ctx, user, "door-1", person_id=anna["_id"])
    moved = await seen(ctx, user, "door-2", person_id=bert["_id"])

    async def persons() -> list[Any]:
        return [(one["person_id"], one["named"]) for one in await visits(ctx)]

    await changes.merge(anna["_id"], bert["_id"])
    assert await persons() == [(anna["_id"], True), (anna["_id"], True)]
    await changes.undo()
    assert await persons() == [(anna["_id"], True), (bert["_id"], False)]
    await changes.merge(anna["_id"], bert["_id"])
    new = (await changes.split(anna["_id"], [moved["_id"]])).other
    assert await persons() == [(anna["_id"], True), (new, False)]
    await Erasure(ctx, user, low=1.0).erase(anna["_id"])
    assert await persons() == [(new, False)]


async def test_an_interrupted_change_is_completed(
    ctx: Context, user: User, changes: PersonChanges, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A merge that ends after the faces have moved leaves marked visits, which the next change computes."""
    anna, bert = await ctx.persons.add(user, {}), await ctx.persons.add(user, {})
    await seen(ctx, user, "door-1", person_id=anna["_id"])
    await seen(ctx, user, "door-2", person_id=bert["_id"])

    async def crash(*_arguments: object) -> int:
        raise ConnectionError

    with monkeypatch.context() as patched:
        patched.setattr(VisitDocuments, "refresh_outdated", crash)
        with pytest.raises(ConnectionError):
            await changes.merge(anna["_id"], bert["_id"])
    assert (await visits(ctx))[1]["outdated"]
    await changes.resume()
    assert [one["person_id"] for one in await visits(ctx)] == [anna["_id"]] * 2


async def test_faces_stored_at_once_are_all_counted(ctx: Context, user: User) -> None:
    """Computations of one visit that run at once end with all its faces."""
    await asyncio.gather(*(seen(ctx, user, "door-1", score=-number / 100) for number in range(20)))
    found = await only(ctx)
    assert found["faces"] == 20 and "outdated" not in found


async def test_a_malformed_document_is_replaced(ctx: Context, user: User) -> None:
    """A damaged document of a visit does not prevent that its faces are stored."""
    await seen(ctx, user, "door-1")
    await ctx.database["visits"].update_one({}, {"$set": {"revision": "x", "start": 3}})
    await seen(ctx, user, "door-1")
    assert (await only(ctx))["faces"] == 2


async def test_faces_of_earlier_versions_get_visits(
    ctx: Context, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are computed in batches; a run that is killed is continued, and another changes nothing."""
    for number in range(7):
        await seen(ctx, user, f"door-{number // 2}", score=-number / 10)
    before = await visits(ctx)
    await ctx.database["visits"].delete_many({})
    await ctx.database["visit_progress"].delete_many({})
    monkeypatch.setattr(following, "BATCH", 2)
    original, calls = VisitDocuments.refresh, 0

    async def killed(self: VisitDocuments, keys: Any) -> int:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise ConnectionError
        return await original(self, keys)

    with monkeypatch.context() as patched:
        patched.setattr(VisitDocuments, "refresh", killed)
        with pytest.raises(ConnectionError):
            await follow_faces(ctx.database)
    assert 0 < len(await visits(ctx)) < len(before)
    await follow_faces(ctx.database)
    after = await visits(ctx)
    drop = ("revision", "outdated")
    assert [{k: v for k, v in one.items() if k not in drop} for one in after] == [
        {k: v for k, v in one.items() if k not in drop} for one in before
    ]
    assert await follow_faces(ctx.database) == 0


async def test_stored_sightings_make_visits(ctx: Context, user: User, tmp_path: Path) -> None:
    """What the daemon stores, including a withheld face that a later one of its visit explains."""
    spool = Spool(tmp_path / "spool", 100_000_000, UnobservedStore())
    async with recording(ctx, user, spool) as running:
        spool.put(sighting(1, 0, visit_id="door-1", score=-0.5, shots=1))
        spool.put(sighting(1, 1, visit_id="door-1", score=-0.1))
        await asyncio.wait_for(running.recorder.drained(), 20)
        events = running.events
    found = await only(ctx)
    assert events[0].person_id is None and events[1].person_id is not None
    assert found["faces"] == 2 and found["persons"] == [events[1].person_id]
    assert found["best_face"] == events[1].face_id

"""Erasing a person removes all their data and nothing else."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from bson import ObjectId

from store import Context, NotFoundError, User
from store.errors import StoreError, UploadError
from store.identity.erasure import Erasure
from store.identity.unassigned import Reassessed, UnassignedFaces
from store.spool.files import SpoolFiles
from store.spool.spool import Spool
from store.upkeep.doctor.doctor import Doctor
from store.upkeep.doctor.findings import FindingKind
from store.uploads.face_pictures import PICTURES
from tests.facens import face, like, stored
from tests.integration.store.recorders import recording
from tests.sightings import RECORDING, START, person_facen, photo, sighting
from tests.store_checks import assert_agreement, files_below, picture_path


async def test_pictures_of_another_user_are_kept(
    ctx: Context, user: User, spool: Spool, uploads: Path
) -> None:
    """A face that names another user's pictures does not remove them when its person is erased."""
    async with recording(ctx, user, spool) as running:
        id_ = spool.put(sighting(1))
        await asyncio.wait_for(running.recorder.drained(), 20)
    (theirs,) = await ctx.faces.find(user, {"sighting_id": id_})
    stranger = await ctx.users.add({})
    person = await ctx.persons.add(stranger, {})
    urls = {field: theirs[field] for field in PICTURES}
    await stored(ctx, stranger, person_facen(2), [], person_id=person["_id"], **urls)
    erased = await Erasure(ctx, stranger).erase(person["_id"])
    assert (erased.faces, erased.pictures) == (1, 0)
    await assert_agreement(ctx, user, uploads, {id_})


async def test_an_erased_id_stays_recorded_for_its_own_user(ctx: Context, user: User) -> None:
    """Erasing another user's face with the same person id does not change the record in `erased`."""
    person = await ctx.persons.add(user, {})
    await Erasure(ctx, user).erase(person["_id"])
    stranger = await ctx.users.add({})
    await stored(ctx, stranger, person_facen(2), [], person_id=person["_id"])
    assert (await Erasure(ctx, stranger).erase(person["_id"])).faces == 1
    note = await ctx.database["erased"].find_one({"_id": person["_id"]})
    assert note is not None
    assert note["owner"] == user["_id"]


@pytest.mark.parametrize("at", [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, tzinfo=UTC)])
async def test_faces_of_any_year_are_erased(ctx: Context, user: User, at: datetime) -> None:
    """A malformed document may have such a time."""
    person = await ctx.persons.add(user, {})
    seen = {"detector_info": {"visit_id": "v"}, "cam_id": "door", "timestamp": at}
    await stored(ctx, user, person_facen(2), [], person_id=person["_id"], **seen)
    assert (await Erasure(ctx, user).erase(person["_id"])).faces == 1


async def person_of(ctx: Context, user: User, sighting_id: str) -> int:
    found = await ctx.faces.find_one(user, {"sighting_id": sighting_id})
    assert found is not None
    return int(found["person_id"])


async def documents_with(ctx: Context, value: object) -> list[str]:
    """The collections in which a document holds this value anywhere."""
    found = []
    for name in await ctx.database.list_collection_names():
        documents = await ctx.database[name].find({}).to_list(None)
        found += [name for document in documents if repr(value) in repr(document)]
    return found


async def test_nothing_of_an_erased_person_is_left(
    ctx: Context, user: User, spool: Spool, uploads: Path
) -> None:
    """Faces, facens, pictures and the person are removed at every camera; the other person is unchanged."""
    mine = [sighting(1, look, cam_id=cam_id) for look in (1, 2) for cam_id in ("door", "gate")]
    async with recording(ctx, user, spool) as running:
        ids = [spool.put(one) for one in mine]
        other = spool.put(sighting(2, 1))
        await asyncio.wait_for(running.recorder.drained(), 20)
    persons = {await person_of(ctx, user, id_) for id_ in ids}
    facens = [one["facen"] for one in await ctx.faces.find(user, {"sighting_id": {"$in": ids}})]
    erased = [await Erasure(ctx, user).erase(person) for person in sorted(persons)]
    assert sum(one.faces for one in erased) == 4
    assert sum(one.pictures + one.shared_photos for one in erased) == 12
    (left,) = await assert_agreement(ctx, user, uploads, {other})
    for _, gallery in await ctx.facens.galleries(user["_id"]):
        assert set(await ctx.facens.ids(user["_id"], gallery)) <= {left["_id"]}
    for facen in facens:
        assert await documents_with(ctx, facen) == []
    assert [finding async for finding in Doctor(ctx, timedelta(0)).findings()] == []


async def test_removes_the_photos_of_other_faces_in_the_same_frame(
    ctx: Context, user: User, spool: Spool, uploads: Path
) -> None:
    """Photos that show the erased person are removed from other faces, which keep their cut-out pictures."""
    frame = photo(200)
    async with recording(ctx, user, spool) as running:
        first = spool.put(sighting(1, photo_bytes=frame))
        second = spool.put(sighting(2, photo_bytes=frame))
        await asyncio.wait_for(running.recorder.drained(), 20)
    erased = await Erasure(ctx, user).erase(await person_of(ctx, user, first))
    assert erased.shared_photos == 1
    (left,) = await ctx.faces.find(user, None)
    assert left["sighting_id"] == second
    assert "photo" not in left
    assert files_below(uploads) == {picture_path(left[field]) for field in ("normalized", "thumbnail")}
    assert all(frame != path.read_bytes() for path in files_below(uploads))


async def test_completes_an_interrupted_erasure(
    ctx: Context, user: User, spool: Spool, uploads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted at any step, a second erasure leaves nothing, orphaned pictures included."""
    async with recording(ctx, user, spool) as running:
        ids = [spool.put(sighting(1, look)) for look in range(3)]
        await asyncio.wait_for(running.recorder.drained(), 20)
    person = await person_of(ctx, user, ids[0])
    delete, calls = type(ctx.uploads).delete, 0

    async def sometimes(self: object, key: str) -> bool:
        nonlocal calls
        calls += 1
        if calls % 3 == 0:
            raise UploadError("the disk is away")
        return bool(await delete(self, key))

    with monkeypatch.context() as patch:
        patch.setattr(type(ctx.uploads), "delete", sometimes)
        for _ in range(3):
            with pytest.raises(StoreError):
                await Erasure(ctx, user).erase(person)
    await Erasure(ctx, user).erase(person)
    async for _ in Doctor(ctx, timedelta(0)).findings(repair=True):
        pass
    assert files_below(uploads) == set()
    assert await ctx.faces.count(user, None) == 0


async def test_doctor_erases_a_face_stored_during_the_erasure(ctx: Context, user: User) -> None:
    """A recorder adds a face of a person that it had found before the erasure; the next check erases it."""
    person = await ctx.persons.add(user, {"name": "Ann"})
    await Erasure(ctx, user).erase(person["_id"])
    late = face(person_facen(1), person_id=person["_id"])
    await ctx.faces.add(user, late)
    (finding,) = [one async for one in Doctor(ctx, timedelta(0)).findings(repair=True)]
    assert finding.kind == FindingKind.ERASED_PERSON
    assert await ctx.faces.count(user, None) == 0


async def test_another_users_person_cannot_be_erased(
    ctx: Context, user: User, spool: Spool, uploads: Path
) -> None:
    """Another user's person and an unknown id are a NotFoundError."""
    async with recording(ctx, user, spool) as running:
        id_ = spool.put(sighting(1))
        await asyncio.wait_for(running.recorder.drained(), 20)
    stranger = await ctx.users.add({})
    for person in (await person_of(ctx, user, id_), 4711):
        with pytest.raises(NotFoundError, match="no person"):
            await Erasure(ctx, stranger).erase(person)
    (left,) = await assert_agreement(ctx, user, uploads, {id_})
    assert all(field in left for field in PICTURES)


async def test_erases_withheld_faces_of_the_person(
    ctx: Context, user: User, spool: Spool, uploads: Path
) -> None:
    """Similar faces without a person, from before the person was known, are erased as well."""
    async with recording(ctx, user, spool) as running:
        for look in range(3):
            spool.put(sighting(1, look + 1, shots=1, photo_bytes=photo(70 + look)))
        stranger = spool.put(sighting(2, 1, shots=1))
        await asyncio.wait_for(running.recorder.drained(), 20)
        known = spool.put(sighting(1, 20))
        await asyncio.wait_for(running.recorder.drained(), 20)
        person = await person_of(ctx, user, known)
        before = await Erasure(ctx, user).preview(person)
        assert (before.faces, before.pictures, before.unassigned, before.lookalikes) == (1, 3, 3, ())
        erased = await Erasure(ctx, user).erase(person)
        assert (erased.faces, erased.unassigned, erased.pictures) == (1, 3, 12)
        (left,) = await ctx.faces.find(user, None)
        assert left["sighting_id"] == stranger
        assert files_below(uploads) == {picture_path(left[field]) for field in PICTURES}
        again = spool.put(sighting(1, 30))
        await asyncio.wait_for(running.recorder.drained(), 20)
    unassigned = UnassignedFaces(ctx, user, RECORDING.threshold)
    assert await unassigned.reassess(START + timedelta(days=1)) == Reassessed(1, 0)
    assert await ctx.faces.count(user, {"person_id": await person_of(ctx, user, again)}) == 1


async def test_lists_doubles_and_erases_the_given_ones(ctx: Context, user: User) -> None:
    """Similar persons are listed with their data, and erased if given; other persons are not listed."""
    ann, twin, other = [await ctx.persons.add(user, {"name": name}) for name in ("Ann", "Twin", "Other")]
    facen = person_facen(1)
    for person, theirs in ((ann, facen), (twin, like(facen, 0.9)), (other, person_facen(2))):
        await stored(ctx, user, theirs, [], person_id=person["_id"], detector_info={"pack": "opencv-zoo"})
    (lookalike,) = (await Erasure(ctx, user).preview(ann["_id"])).lookalikes
    assert (lookalike.person_id, lookalike.name, lookalike.faces) == (twin["_id"], "Twin", 1)
    assert lookalike.confidence == pytest.approx(0.95, abs=0.001)
    assert lookalike.first_seen == lookalike.last_seen is not None
    erased = await Erasure(ctx, user).erase(ann["_id"])
    assert [one.person_id for one in erased.lookalikes_left] == [twin["_id"]]
    assert await ctx.persons.count(user, None) == 2
    again = await ctx.persons.add(user, {})
    await stored(ctx, user, facen, [], person_id=again["_id"], detector_info={"pack": "opencv-zoo"})
    with pytest.raises(NotFoundError):
        await Erasure(ctx, user).erase(again["_id"], [4711])
    erased = await Erasure(ctx, user).erase(again["_id"], with_lookalikes=True)
    assert (erased.lookalikes, erased.lookalikes_left, erased.faces) == ((twin["_id"],), (), 2)
    (left,) = await ctx.persons.find(user, None)
    assert left["_id"] == other["_id"]


async def test_removes_photos_of_co_visible_visits(ctx: Context, user: User, spool: Spool) -> None:
    """Photos of co-visible visits are removed, whichever of the two visits recorded the other."""
    async with recording(ctx, user, spool) as running:
        mine = spool.put(sighting(1, visit_id="mine", beside=("left",)))
        for person, visit, beside in ((2, "left", ()), (3, "right", ("mine",)), (4, "alone", ())):
            spool.put(sighting(person, visit_id=visit, beside=beside))
        await asyncio.wait_for(running.recorder.drained(), 20)
    erased = await Erasure(ctx, user).erase(await person_of(ctx, user, mine))
    assert erased.shared_photos == 2
    left = await ctx.faces.find(user, {"photo": {"$exists": True}})
    assert [face["detector_info"]["visit_id"] for face in left] == ["alone"]


async def test_reports_what_was_not_checked(ctx: Context, user: User) -> None:
    """Backups, MongoDB's oplog, spools, and faces that could not be compared."""
    person = await ctx.persons.add(user, {"name": "Ann"})
    erased = await Erasure(ctx, user).erase(person["_id"])
    assert erased.name == "Ann"
    for what in ("backups", "oplog", "spool", "no facen is left"):
        assert any(what in one for one in erased.not_checked)


MALFORMED: list[dict[str, object]] = [
    {"gallery": 5},
    {"detector_info": {"pack": ["opencv-zoo"]}},
    {"detector_info": {"pack": {"name": "opencv-zoo"}}},
    {"detector_info": "x"},
    {"timestamp": "yesterday"},
    {"photo_hash": {"$in": []}, "cam_id": {"$gt": ""}},
    {"bbox": [1, 2, 3, 4]},
    {"score": "poor"},
]


@pytest.mark.parametrize("fields", MALFORMED, ids=str)
async def test_erases_malformed_faces_of_the_person(
    ctx: Context, user: User, spool: Spool, uploads: Path, fields: dict[str, object]
) -> None:
    """Malformed documents, which other readers skip, are removed with their facens and pictures."""
    async with recording(ctx, user, spool) as running:
        ids = [spool.put(sighting(1, look)) for look in range(2)]
        other = spool.put(sighting(2, 1))
        await asyncio.wait_for(running.recorder.drained(), 20)
    person = await person_of(ctx, user, ids[0])
    faces = ctx.database["faces"].ungated
    await faces.update_one({"sighting_id": ids[1]}, {"$set": fields})
    before = await Erasure(ctx, user).preview(person)
    assert (before.faces, before.pictures) == (2, 6)
    erased = await Erasure(ctx, user).erase(person)
    assert (erased.faces, erased.pictures) == (2, 6)
    assert await faces.count_documents({"person_id": person}) == 0
    (left,) = await assert_agreement(ctx, user, uploads, {other})
    for _, gallery in await ctx.facens.galleries(user["_id"]):
        assert set(await ctx.facens.ids(user["_id"], gallery)) <= {left["_id"]}


@pytest.mark.parametrize("id_", ["text", ObjectId(), {"a": 1}, -5, 5.5])
async def test_erases_a_person_with_only_malformed_faces(
    ctx: Context, user: User, spool: Spool, uploads: Path, id_: object
) -> None:
    """Such a person is known and erased; pictures that other faces name are kept."""
    async with recording(ctx, user, spool) as running:
        first, other = spool.put(sighting(1)), spool.put(sighting(2, 1))
        await asyncio.wait_for(running.recorder.drained(), 20)
    person = await person_of(ctx, user, first)
    faces = ctx.database["faces"].ungated
    document = await faces.find_one_and_delete({"sighting_id": first})
    shared = await faces.find_one({"sighting_id": other})
    await faces.insert_one({**document, "_id": id_, "photo": shared["photo"]})
    await ctx.database["persons"].delete_one({"_id": person})
    erased = await Erasure(ctx, user).erase(person)
    assert (erased.faces, erased.pictures) == (1, 2)
    assert await faces.count_documents({}) == 1
    assert picture_path(shared["photo"]) in files_below(uploads)


async def test_removes_sightings_on_disk(ctx: Context, user: User, spool: Spool) -> None:
    """Matching pending sightings and dead letters are removed; those that cannot be compared are counted."""
    async with recording(ctx, user, spool) as running:
        known = spool.put(sighting(1))
        await asyncio.wait_for(running.recorder.drained(), 20)
    waiting, dead, stays = (spool.put(sighting(*who)) for who in ((1, 1), (1, 2), (2, 1)))
    spool.dead(dead, "the server refuses it")
    foreign = spool.put(replace(sighting(1, 3), pack="another"))
    dead_folder = spool.folder / "dead"
    (dead_folder / "damaged.sighting").write_bytes(b"x")
    (dead_folder / "damaged.sighting.reason").write_text("it is damaged")
    files = SpoolFiles(spool.folder)
    erased = await Erasure(ctx, user, sightings=files).erase(await person_of(ctx, user, known))
    assert erased.sightings == 2
    assert {path.stem for path in spool.folder.glob("*.sighting")} == {stays, foreign}
    assert {path.name for path in dead_folder.iterdir()} == {"damaged.sighting", "damaged.sighting.reason"}
    assert any("cannot be compared: 2," in one and str(spool.folder) in one for one in erased.not_checked)
    assert waiting not in {path.stem for path in spool.folder.iterdir()}


async def test_pictures_at_other_hosts_are_reported(ctx: Context, user: User) -> None:
    """Pictures outside the uploads are kept by their hosts; the report lists their URLs."""
    person = await ctx.persons.add(user, {})
    url = "https://elsewhere.example/thumb.jpeg?signature=1"
    await stored(ctx, user, person_facen(1), [], person_id=person["_id"], thumbnail=url)
    other = f"{url}&face=2"
    face_id = (await stored(ctx, user, person_facen(1), [], person_id=person["_id"], thumbnail=other))["_id"]
    await ctx.database["faces"].ungated.update_one({"_id": face_id}, {"$set": {"gallery": 5}})
    erased = await Erasure(ctx, user).erase(person["_id"])
    assert erased.foreign_urls == (url, other)

"""Retention removes what is too old or too much, and nothing else."""

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.types import Sighting
from store.collections.users import User
from store.context import Context
from store.errors import FacenStorageError, UploadError
from store.settings import RetentionSettings
from store.spool.spool import Spool
from store.upkeep.retention import Removed, Retention
from store.uploads.face_pictures import PICTURES
from tests.integration.store.recorders import recording
from tests.sightings import sighting
from tests.store_checks import assert_agreement, files_below, picture_path

NOW = datetime.now(UTC)
NOTHING = Removed(faces=0, pictures=0, persons=0, leftovers=0, dead=0)


def seen(person: int, days_ago: float) -> Sighting:
    return sighting(person, captured_at=NOW - timedelta(days=days_ago))


async def store(ctx: Context, user: User, spool: Spool, *sightings: Sighting) -> list[str]:
    ids = [spool.put(one) for one in sightings]
    async with recording(ctx, user, spool) as running:
        await asyncio.wait_for(running.recorder.drained(), 20)
    return ids


async def test_removes_old_faces_everywhere(ctx: Context, user: User, spool: Spool, uploads: Path) -> None:
    """An old face is removed from facen storage, MongoDB and uploads, with its person; a new one is kept."""
    _, new = await store(ctx, user, spool, seen(1, days_ago=40), seen(2, days_ago=5))
    retention = Retention(ctx, user, RetentionSettings(faces_days=30, persons_grace_seconds=0))
    assert await retention.run(NOW) == Removed(faces=1, pictures=3, persons=1, leftovers=0, dead=0)
    (face,) = await assert_agreement(ctx, user, uploads, {new})
    assert await ctx.facens.ids(user["_id"], "default") == [face["_id"]]
    assert await ctx.facens.ids(user["_id"], "persons") == [face["_id"]]
    assert await retention.run(NOW) == NOTHING


async def test_keeps_a_person_who_was_seen_again(
    ctx: Context, user: User, spool: Spool, uploads: Path
) -> None:
    """Of a person with an old and a new face, only the old face is removed."""
    _, new = await store(ctx, user, spool, seen(1, days_ago=40), seen(1, days_ago=5))
    retention = Retention(ctx, user, RetentionSettings(faces_days=30, persons_grace_seconds=0))
    assert (await retention.run(NOW)).persons == 0
    await assert_agreement(ctx, user, uploads, {new})


async def test_removes_old_pictures_and_keeps_the_faces(
    ctx: Context, user: User, spool: Spool, uploads: Path
) -> None:
    """With only a maximum age of pictures, faces are kept and found, and name no pictures."""
    await store(ctx, user, spool, seen(1, days_ago=40), seen(2, days_ago=5))
    retention = Retention(ctx, user, RetentionSettings(pictures_days=30))
    assert (await retention.run(NOW)).pictures == 3
    old, new = await ctx.faces.find(user, None, sort=[("timestamp", 1)])
    assert not any(field in old for field in PICTURES)
    assert old["_id"] in await ctx.facens.ids(user["_id"], "persons")
    assert files_below(uploads) == {picture_path(new[field]) for field in PICTURES}
    assert await retention.run(NOW) == NOTHING


async def test_keeps_everything_by_default(ctx: Context, user: User, spool: Spool, uploads: Path) -> None:
    """Without maximum ages nothing is removed."""
    ids = await store(ctx, user, spool, seen(1, days_ago=4000))
    assert await Retention(ctx, user, RetentionSettings()).run(NOW) == NOTHING
    await assert_agreement(ctx, user, uploads, set(ids))


async def test_does_not_change_data_of_another_user(
    ctx: Context, user: User, spool: Spool, uploads: Path
) -> None:
    """Old faces of another user are kept, with pictures and persons."""
    ids = await store(ctx, user, spool, seen(1, days_ago=40))
    other = await ctx.users.add({})
    retention = Retention(
        ctx, other, RetentionSettings(faces_days=1, pictures_days=1, persons_grace_seconds=0)
    )
    assert await retention.run(NOW + timedelta(days=60)) == NOTHING
    await assert_agreement(ctx, user, uploads, set(ids))


async def test_a_person_without_faces_is_removed_after_a_grace_period(ctx: Context, user: User) -> None:
    """A person without faces is kept in the first run, because its first face may be pending."""
    person = await ctx.persons.add(user, {})
    late = await ctx.persons.add(user, {})
    retention = Retention(ctx, user, RetentionSettings(persons_grace_seconds=3600))
    assert (await retention.run(NOW)).persons == 0
    assert (await retention.run(NOW + timedelta(minutes=30))).persons == 0
    await ctx.faces.add(user, ctx.faces.wrap_in_model({"person_id": late["_id"]}))
    assert (await retention.run(NOW + timedelta(minutes=61))).persons == 1
    (left,) = await ctx.persons.find(user, None)
    assert left["_id"] == late["_id"] != person["_id"]
    assert "faceless_since" not in left


async def test_completes_an_interrupted_run(
    ctx: Context, user: User, spool: Spool, uploads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Orphaned pictures of an interrupted run are removed once their day is past the cutoff."""
    await store(ctx, user, spool, seen(1, days_ago=40))

    async def cut_off(_: object, __: str) -> bool:
        raise UploadError("the folder is away")

    settings = RetentionSettings(faces_days=30)
    with monkeypatch.context() as patch:
        patch.setattr(type(ctx.uploads), "delete", cut_off)
        with pytest.raises(UploadError):
            await Retention(ctx, user, settings).run(NOW)
    assert await ctx.faces.count(user, None) == 0
    assert len(files_below(uploads)) == 3
    assert (await Retention(ctx, user, settings).run(NOW)).pictures == 0
    assert (await Retention(ctx, user, settings).run(NOW + timedelta(days=32))).pictures == 3
    assert files_below(uploads) == set()


async def test_a_face_is_kept_while_the_facen_storage_is_down(
    ctx: Context, user: User, spool: Spool, uploads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a shard is down, the old face keeps its document and pictures; the next run removes it."""
    (id_,) = await store(ctx, user, spool, seen(1, days_ago=40))
    retention = Retention(ctx, user, RetentionSettings(faces_days=30))

    async def out(*_: object) -> bool:
        raise FacenStorageError("the shard is out", "local")

    with monkeypatch.context() as patch:
        patch.setattr(type(ctx.facens), "remove", out)
        with pytest.raises(FacenStorageError):
            await retention.run(NOW)
    await assert_agreement(ctx, user, uploads, {id_})
    assert (await retention.run(NOW)).faces == 1
    assert await ctx.facens.ids(user["_id"], "default") == []


async def test_keeps_named_pictures_in_an_old_days_folder(
    ctx: Context, user: User, spool: Spool, uploads: Path
) -> None:
    """Pictures that a face names, and foreign files, are kept in the folder of an old day."""
    (id_,) = await store(ctx, user, spool, seen(1, days_ago=-31))
    (face,) = await ctx.faces.find(user, None)
    strange = picture_path(face["photo"]).with_name("notes.txt")
    strange.write_text("mine")
    retention = Retention(ctx, user, RetentionSettings(faces_days=30))
    assert (await retention.run(NOW + timedelta(days=32))).pictures == 0
    assert strange.read_text() == "mine"
    strange.unlink()
    await assert_agreement(ctx, user, uploads, {id_})


async def test_removes_old_leftovers_and_dead_letters(
    ctx: Context, user: User, spool: Spool, uploads: Path
) -> None:
    """Old partial pictures and dead letters are removed; recent ones are kept."""
    await store(ctx, user, spool, seen(1, days_ago=1))
    (face,) = await ctx.faces.find(user, None)
    young, old = (picture_path(face["photo"]).with_name(f".{name}.0badcafe.part") for name in "ab")
    for path in (young, old):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    spool.dead(spool.put(seen(2, days_ago=1)), "no use")
    retention = Retention(ctx, user, RetentionSettings(), spool)
    assert await retention.run(NOW) == Removed(faces=0, pictures=0, persons=0, leftovers=1, dead=0)
    assert young.exists()
    assert not old.exists()
    (note,) = (spool.folder / "dead").glob("*.reason")
    os.utime(note, (0, 0))
    assert (await retention.run(NOW)).dead == 1
    assert list((spool.folder / "dead").iterdir()) == []


@pytest.mark.parametrize("days", [0, -1.0])
def test_refuses_ages_that_would_remove_everything(days: float) -> None:
    """A maximum age of zero or less is refused; the error names the setting."""
    with pytest.raises(ValueError, match="faces_days"):
        RetentionSettings(faces_days=days)


async def test_limits_the_number_of_faces(ctx: Context, user: User, spool: Spool, uploads: Path) -> None:
    """Above the maximum number the oldest faces are removed, with their pictures and persons."""
    *_, second, third = await store(
        ctx, user, spool, *(seen(person, days_ago=9 - person) for person in range(1, 5))
    )
    retention = Retention(ctx, user, RetentionSettings(max_faces=2, persons_grace_seconds=0))
    assert await retention.run(NOW) == Removed(faces=2, pictures=6, persons=2, leftovers=0, dead=0)
    await assert_agreement(ctx, user, uploads, {second, third})
    assert await retention.run(NOW) == NOTHING


async def test_limits_the_bytes_of_pictures(ctx: Context, user: User, spool: Spool, uploads: Path) -> None:
    """The oldest pictures are removed until the rest fits; their faces are kept and found."""
    await store(ctx, user, spool, *(seen(person, days_ago=1) for person in range(1, 5)))
    orphan = picture_path((await ctx.faces.find(user, None))[0]["photo"]).with_name(
        "1_0123456789ab_photo.jpeg"
    )
    orphan.write_bytes(bytes(1000))
    oldest, *newer = await ctx.faces.find(user, None, sort=[("_id", 1)])
    sizes = {
        face["_id"]: sum(picture_path(face[field]).stat().st_size for field in PICTURES) for face in newer
    }
    retention = Retention(ctx, user, RetentionSettings(max_picture_bytes=sum(sizes.values()) + 10))
    assert (await retention.run(NOW)).pictures == 4
    faces = await ctx.faces.find(user, None, sort=[("_id", 1)])
    assert [face["_id"] for face in faces if "photo" not in face] == [oldest["_id"]]
    assert sum(path.stat().st_size for path in files_below(uploads)) == sum(sizes.values())
    assert oldest["_id"] in await ctx.facens.ids(user["_id"], "default")
    assert await retention.run(NOW) == NOTHING

"""Freeing disk space: which pictures are removed first."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from store import Context, User
from store.mongo.ids import first_id_of
from store.settings import ENROLLED_GALLERY
from store.spool.spool import Spool
from store.upkeep.limits import Limits
from store.upkeep.orphans import ALWAYS_ALLOWED
from store.uploads.face_pictures import PICTURES
from tests.integration.store.recorders import recording
from tests.sightings import sighting
from tests.store_checks import picture_path

EVERYTHING = 10**9
SIZE = 1000
OLD, YOUNG = "20250101", f"{datetime.now(UTC):%Y%m%d}"


def picture(folder: Path, day: str, face_id: int) -> Path:
    """A picture of no face."""
    path = folder / day / f"{face_id}_0123456789ab_photo.jpeg"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(SIZE))
    return path


async def visit(ctx: Context, user: User, spool: Spool, person: int, days_ago: int) -> Path:
    """Stores a visit; the path of its photo, in the folder of the day it was stored on."""
    id_ = spool.put(sighting(person, captured_at=datetime.now(UTC) - timedelta(days=days_ago)))
    async with recording(ctx, user, spool) as running:
        await asyncio.wait_for(running.recorder.drained(), 20)
    found = await ctx.faces.find_one(user, {"sighting_id": id_})
    assert found is not None
    return picture_path(found["photo"])


async def test_frees_orphans_and_extracted_pictures_first(
    ctx: Context, user: User, spool: Spool, uploads: Path
) -> None:
    """Those of every user are removed, except pictures younger than half an hour."""
    photo = await visit(ctx, user, spool, 1, 3)
    stranger = await ctx.users.add({})
    young = first_id_of(int(datetime.now(UTC).timestamp() * 1000)) - 1
    orphans = [picture(uploads / str(one["_id"]), OLD, 1) for one in (user, stranger)]
    extracted = picture(uploads / "extracted", OLD, 2)
    kept = [
        picture(uploads / str(user["_id"]), YOUNG, young),
        picture(uploads / "extracted", YOUNG, young),
        picture(uploads / "0123456789abcdef01234567", OLD, 3),
    ]
    assert await Limits(ctx, user).free(2 * SIZE + 1) == 3 * SIZE
    assert not any(path.exists() for path in (*orphans, extracted))
    assert all(path.exists() for path in (*kept, photo))


async def test_too_many_orphans_are_kept(ctx: Context, user: User, spool: Spool, uploads: Path) -> None:
    """They may come from a wrong database; pictures that faces name are removed instead."""
    photo = await visit(ctx, user, spool, 1, 3)
    orphans = [picture(uploads / str(user["_id"]), OLD, number) for number in range(ALWAYS_ALLOWED + 1)]
    assert await Limits(ctx, user).free(EVERYTHING) > 0
    assert all(path.exists() for path in orphans) and not photo.exists()


async def test_frees_the_oldest_day_of_all_users_first(
    ctx: Context, user: User, spool: Spool, uploads: Path
) -> None:
    """Pictures of enrolled people and of disabled users are kept."""
    users = [user, *[await ctx.users.add({}) for _ in range(3)]]
    photos = [await visit(ctx, one, spool, number, 1) for number, one in enumerate(users)]
    days = ["20250103", "20250102", "20250101", "20250100"]
    for one, photo, day in zip(users, photos, days, strict=True):
        photo.parent.rename(photo.parent.with_name(day))
        (face,) = await ctx.faces.find(one, None)
        moved = {field: face[field].replace(photo.parent.name, day) for field in PICTURES}
        await ctx.database["faces"].update_one({"_id": face["_id"]}, {"$set": moved})
    photos = [photo.parent.with_name(day) / photo.name for photo, day in zip(photos, days, strict=True)]
    (enrolled,) = await ctx.faces.find(users[2], None)
    await ctx.galleries.ensure(users[2], ENROLLED_GALLERY)
    await ctx.faces.add_to_galleries(enrolled, [ENROLLED_GALLERY])
    await ctx.database["users"].update_one({"_id": users[3]["_id"]}, {"$set": {"active": False}})
    there: Callable[[], list[bool]] = lambda: [photo.exists() for photo in photos]  # noqa: E731
    assert there() == [True] * 4
    assert await Limits(ctx, user).free(1) > 0
    assert there() == [True, False, True, True]
    assert await Limits(ctx, user).free(EVERYTHING) > 0
    assert there() == [False, False, True, True]
    assert await ctx.faces.count(user, None) == 1
    assert await Limits(ctx, user).free(EVERYTHING) == 0

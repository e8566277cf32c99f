"""The doctor finds and repairs inconsistencies of the store, and changes nothing else."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.types import Rectangle
from store import Context, Face, User
from store.observer import UnobservedStore
from store.spool.spool import Spool
from store.upkeep.doctor.doctor import Doctor
from store.upkeep.doctor.findings import Finding, FindingKind
from store.uploads.face_pictures import PICTURES
from tests.facens import person_facen, stored
from tests.integration.store.recorders import recording
from tests.mongo import StoreArguments
from tests.sightings import sighting
from tests.store_checks import assert_agreement, picture_path

NOW = timedelta(0)


@dataclass
class Box:
    """A store with three visits of two persons in it."""

    ctx: Context
    user: User
    uploads: Path
    ids: set[str]

    async def faces(self) -> list[Face]:
        return await self.ctx.faces.find(self.user, None, sort=[("_id", 1)])

    async def findings(self, *, repair: bool = False, grace: timedelta = NOW) -> list[Finding]:
        return [finding async for finding in Doctor(self.ctx, grace).findings(repair=repair)]


@pytest.fixture
async def box(ctx: Context, store_settings: StoreArguments, tmp_path: Path) -> Box:
    user = await ctx.users.add({})
    spool = Spool(tmp_path / "spool", 100_000_000, UnobservedStore())
    async with recording(ctx, user, spool) as running:
        ids = {spool.put(sighting(1)), spool.put(sighting(2, bbox=Rectangle(10, 10, 60, 90)))}
        ids.add(spool.put(sighting(1, 5)))
        await asyncio.wait_for(running.recorder.drained(), 20)
    return Box(ctx, user, store_settings.data_dir / "uploads", ids)


async def lose_entry(box: Box) -> None:
    face = (await box.faces())[1]
    await box.ctx.facens.remove(box.user["_id"], "persons", face["_id"])


async def leave_entry(box: Box) -> None:
    await box.ctx.facens.add(box.user["_id"], "default", 4711, person_facen(9))


async def lose_thumbnail(box: Box) -> None:
    picture_path((await box.faces())[1]["thumbnail"]).unlink()


async def lose_photo(box: Box) -> None:
    picture_path((await box.faces())[0]["photo"]).unlink()


async def leave_picture(box: Box) -> None:
    face = (await box.faces())[2]
    path = picture_path(face["photo"])
    path.with_name(f"{face['_id']}_0123456789ab_photo.jpeg").write_bytes(path.read_bytes())


async def leave_picture_without_face(box: Box) -> None:
    path = picture_path((await box.faces())[2]["photo"])
    path.with_name("4711_0123456789ab_thumb.jpeg").write_bytes(b"\xff\xd8\xff")


async def lose_faces_of_person(box: Box) -> None:
    await box.ctx.persons.add(box.user, {"name": "nobody's face"})


async def lose_person(box: Box) -> None:
    elsewhere = dict.fromkeys(PICTURES, "https://pictures.example/1.jpeg")
    await stored(box.ctx, box.user, person_facen(9), [], person_id=4711, **elsewhere)


async def lose_gallery(box: Box) -> None:
    await box.ctx.galleries.add(box.user, "staff")
    await box.ctx.faces.add_to_galleries((await box.faces())[0], ["staff"])
    await box.ctx.database["galleries"].delete_one({"name": "staff"})


async def lose_user(box: Box) -> None:
    other = await box.ctx.users.add({})
    face = await stored(box.ctx, other, person_facen(1), ["default", "staff"])
    await box.ctx.uploads.put(box.ctx.faces.gen_ffupload_key(face), b"\xff\xd8\xff", "image/jpeg")
    await box.ctx.persons.add(other, {})
    await box.ctx.users.remove_one({"_id": other["_id"]})


DAMAGE: dict[str, tuple[Callable[[Box], Awaitable[None]], FindingKind]] = {
    "a facen entry is lost": (lose_entry, FindingKind.NO_ENTRY),
    "an entry without face": (leave_entry, FindingKind.NO_FACE),
    "a thumbnail is lost": (lose_thumbnail, FindingKind.MISSING_PICTURE),
    "a photo is lost": (lose_photo, FindingKind.MISSING_PICTURE),
    "a picture that its face does not name": (leave_picture, FindingKind.ORPHANED_PICTURE),
    "a picture without face": (leave_picture_without_face, FindingKind.ORPHANED_PICTURE),
    "a person without faces": (lose_faces_of_person, FindingKind.NO_FACES),
    "a face of nobody": (lose_person, FindingKind.NO_PERSON),
    "a gallery is lost": (lose_gallery, FindingKind.NO_GALLERY),
    "a user is lost": (lose_user, FindingKind.DELETED_USER),
}


async def test_finds_nothing_in_a_consistent_store(box: Box) -> None:
    """A recorder's results are consistent, without any grace period."""
    assert await box.findings(repair=True) == []
    await assert_agreement(box.ctx, box.user, box.uploads, box.ids)


@pytest.mark.parametrize("what", DAMAGE)
async def test_finds_and_repairs(box: Box, what: str) -> None:
    """Each damage is found once by a read-only check, and not found again after the repair."""
    damage, kind = DAMAGE[what]
    await damage(box)
    (found,) = await box.findings()
    assert (found.kind, found.repaired) == (kind, "")
    assert await box.findings() == [found]
    (mended,) = await box.findings(repair=True)
    assert (mended.kind, mended.subject, mended.detail) == (kind, found.subject, found.detail)
    assert mended.repaired
    assert await box.findings() == []


async def test_repairs_all_damages_at_once(box: Box) -> None:
    """One repair of all damages leaves a consistent store with all its valid faces and persons."""
    before = {face["_id"]: face["person_id"] for face in await box.faces()}
    for damage, _ in DAMAGE.values():
        await damage(box)
    assert {finding.kind for finding in await box.findings(repair=True)} == {
        kind for _, kind in DAMAGE.values()
    }
    assert await box.findings() == []
    after = await box.faces()
    assert {face["_id"]: face["person_id"] for face in after if "person_id" in face} == before
    for face in after[:3]:
        assert {"default", "persons"} <= set(face["gallery"]) <= {"default", "persons", "references"}
        assert face["_id"] in await box.ctx.facens.ids(box.user["_id"], "persons")


async def test_recreates_a_lost_thumbnail(box: Box) -> None:
    """A new thumbnail is cut from the photo under the same URL; without a photo its URL is removed."""
    await lose_thumbnail(box)
    face = (await box.faces())[1]
    await box.findings(repair=True)
    assert picture_path(face["thumbnail"]).is_file()
    for field in PICTURES:
        picture_path(face[field]).unlink()
    await box.findings(repair=True)
    face = (await box.faces())[1]
    assert not any(field in face for field in PICTURES)


async def test_skips_young_objects(box: Box) -> None:
    """Objects within the grace period are neither reported nor changed."""
    damages = (lose_entry, lose_photo, leave_picture, lose_faces_of_person, lose_person, lose_gallery)
    for damage in damages:
        await damage(box)
    assert await box.findings(repair=True, grace=timedelta(minutes=30)) == []
    assert len(await box.findings()) == len(damages)


async def test_is_safe_beside_a_recorder(
    ctx: Context, store_settings: StoreArguments, tmp_path: Path
) -> None:
    """Continuous repairs with a grace period of a second break none of the sightings being stored."""
    user = await ctx.users.add({})
    spool = Spool(tmp_path / "spool", 100_000_000, UnobservedStore())
    found: list[Finding] = []

    async def repair() -> None:
        while True:
            doctor = Doctor(ctx, timedelta(seconds=1))
            found.extend([finding async for finding in doctor.findings(repair=True)])

    async with recording(ctx, user, spool) as running:
        checking = asyncio.create_task(repair())
        ids = {spool.put(sighting(number % 12, number)) for number in range(60)}
        await asyncio.wait_for(running.recorder.drained(), 60)
        checking.cancel()
        await asyncio.gather(checking, return_exceptions=True)
    assert found == []
    await assert_agreement(ctx, user, store_settings.data_dir / "uploads", ids)


async def test_the_nightly_check_repairs_only_the_facen_storage(box: Box) -> None:
    """It counts findings by kind, repairs the facen storage in memory, and changes nothing else."""
    await lose_entry(box)
    await lose_photo(box)
    later = datetime.now(UTC) + timedelta(hours=1)
    doctor = Doctor(box.ctx, NOW)
    assert await doctor.nightly() == {FindingKind.NO_ENTRY: 1, FindingKind.MISSING_PICTURE: 1}
    assert [one.kind async for one in doctor.findings(now=later)] == [FindingKind.MISSING_PICTURE]


async def test_an_unusable_facen_is_reported(box: Box, store_settings: StoreArguments) -> None:
    """A face of another model pack, which cannot be searched, is reported and not changed."""
    async with store_settings.open(facen_size=256) as other:
        found = [finding async for finding in Doctor(other, NOW).findings(repair=True)]
    assert {finding.kind for finding in found} == {FindingKind.UNUSABLE_FACEN}
    assert not any(finding.repaired for finding in found)
    galleries = [name for face in await box.faces() for name in face["gallery"]]
    assert len(found) == len(galleries) >= 6

"""Boxes that share a MongoDB do not remove each other's pictures."""

import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from store import Context, Face, User
from store.errors import StoreError
from store.identity.erasure import Erasure
from store.settings import RetentionSettings
from store.upkeep.doctor.doctor import Doctor
from store.upkeep.doctor.findings import Finding, FindingKind
from store.upkeep.reembedding import Reembedded, Reembedding
from store.upkeep.retention import Retention
from store.uploads.face_pictures import LOCATIONS, PICTURES
from store.uploads.folder import FolderUploads
from store.uploads.image import Image
from store.uploads.marker import MARKER
from tests.facens import person_facen, stored
from tests.mongo import StoreArguments
from tests.sightings import normalized, photo
from tests.store_checks import files_below

URL = "https://pictures.example/"


@dataclass
class Box:
    ctx: Context
    user: User
    folder: Path

    async def store(self, person: int, **fields: Any) -> Face:
        face = await stored(self.ctx, self.user, person_facen(person), ["default"], **fields)
        face.normalized = normalized()
        await self.ctx.faces.upload(face, Image(photo()))
        return face

    async def doctor(self, *, repair: bool = True, force: bool = False) -> list[Finding]:
        findings = Doctor(self.ctx, timedelta(0)).findings(repair=repair, force=force)
        return [one async for one in findings]

    async def faces(self) -> list[Face]:
        return await self.ctx.faces.find(self.user, None, sort=[("_id", 1)])

    async def pictures(self) -> int:
        return sum(field in face for face in await self.faces() for field in PICTURES)

    def files(self) -> int:
        return len(files_below(self.folder))


class Site:
    """Opens boxes on one database."""

    def __init__(self, arguments: StoreArguments, stack: AsyncExitStack) -> None:
        self.arguments, self.stack = arguments, stack

    async def box(self, name: str, user: User | None = None, folder: Path | None = None) -> Box:
        home = self.arguments.data_dir / name
        home.mkdir(exist_ok=True)
        folder = folder or home / "uploads"
        opened = Context.open(
            self.arguments.settings,
            self.arguments.persons,
            data_dir=home,
            uploads=FolderUploads(folder, URL),
            box=name,
        )
        ctx = await self.stack.enter_async_context(opened)
        return Box(ctx, user or await ctx.users.add({}), folder)


@pytest.fixture
async def site(store_settings: StoreArguments) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        yield Site(store_settings, stack)


@pytest.mark.parametrize("shared", [False, True], ids=["own users", "one user"])
async def test_doctor_does_not_change_pictures_of_another_box(site: Site, shared: bool) -> None:
    """A repair on one box removes neither URLs nor pictures of another box, and reports what it skipped."""
    one = await site.box("one")
    two = await site.box("two", one.user if shared else None)
    await one.store(1)
    await two.store(2)
    for box in (one, two, one):
        kinds = {finding.kind for finding in await box.doctor()}
        assert kinds <= {FindingKind.ELSEWHERE}
        assert (FindingKind.ELSEWHERE in kinds) == shared
    assert await one.pictures() == await two.pictures() == (6 if shared else 3)
    assert one.files() == two.files() == 3


async def test_retention_removes_only_faces_of_its_own_box(site: Site) -> None:
    """Of a shared user, retention by age and number covers only what this box stored."""
    one = await site.box("one")
    two = await site.box("two", one.user)
    await one.store(1)
    theirs = await two.store(2)
    old = RetentionSettings(faces_days=0.000_000_1, persons_grace_seconds=0)
    assert (await Retention(one.ctx, one.user, old).run()).faces == 1
    assert [face["_id"] for face in await one.faces()] == [theirs["_id"]]
    few = RetentionSettings(max_faces=1, persons_grace_seconds=0)
    await one.store(3)
    assert (await Retention(one.ctx, one.user, few).run()).faces == 0
    assert (one.files(), two.files()) == (3, 3)


async def test_an_unmounted_disk_loses_no_picture(site: Site) -> None:
    """With an empty mount point the doctor reports it and changes nothing; new pictures are kept as well."""
    box = await site.box("one")
    await box.store(1)
    disk = box.folder.rename(box.folder.with_name("disk"))
    box.folder.mkdir()
    (found,) = await box.doctor()
    assert (found.kind, found.repaired) == (FindingKind.NOT_MOUNTED, "")
    assert "3 pictures; is the disk mounted?" in found.detail
    await box.store(2)
    await box.doctor()
    under = box.folder.rename(box.folder.with_name("under"))
    disk.rename(box.folder)
    (found,) = await box.doctor()
    assert found.kind == FindingKind.NOT_MOUNTED
    assert await box.pictures() == 6
    assert len(files_below(under)) == box.files() == 3


async def test_a_moved_folder_keeps_its_pictures(store_settings: StoreArguments) -> None:
    """With `file://` URLs; a repair updates the URLs."""
    first, second = (store_settings.data_dir / name for name in ("first", "second"))
    async with store_settings.open(uploads=FolderUploads(first)) as ctx:
        box = Box(ctx, await ctx.users.add({}), first)
        await box.store(1)
    first.rename(second)
    async with store_settings.open(uploads=FolderUploads(second)) as ctx:
        box = Box(ctx, box.user, second)
        assert [one.kind for one in await box.doctor(repair=False)] == [FindingKind.OTHER_ADDRESS]
        assert [one.kind for one in await box.doctor()] == [FindingKind.OTHER_ADDRESS]
        assert await box.doctor() == []
        assert box.files() == await box.pictures() == 3
        assert all(
            face[field].startswith(second.as_uri()) for face in await box.faces() for field in PICTURES
        )


async def test_a_folder_without_its_marker_is_recognised_by_its_pictures(site: Site) -> None:
    """After a restore without the marker file nothing is lost, and faces record the new location."""
    box = await site.box("one")
    await box.store(1)
    (box.folder / MARKER).unlink()
    await box.doctor()
    assert await box.doctor() == []
    assert box.files() == await box.pictures() == 3


async def test_a_face_without_a_record_belongs_to_the_box_with_its_picture(site: Site) -> None:
    """Faces without a record get one where a picture is found, and are only counted elsewhere."""
    one, two = await site.box("one"), await site.box("two")
    await one.store(1)
    await two.store(2)
    await one.ctx.database["faces"].update_many({}, {"$unset": {LOCATIONS: ""}})
    await one.ctx.database["upload_locations"].delete_many({})
    found = await one.doctor()
    assert [(one.kind, one.repaired) for one in found] == [(FindingKind.UNKNOWN_LOCATION, "")]
    assert "3 pictures" in found[0].detail
    assert [face.get(LOCATIONS) is None for face in (*await one.faces(), *await two.faces())] == [False, True]
    assert {one.kind for one in await two.doctor()} <= {FindingKind.ELSEWHERE}
    assert one.files() == two.files() == await one.pictures() == await two.pictures() == 3


async def test_a_cloned_box_removes_no_urls_of_the_other(site: Site) -> None:
    """Both have the same marker; URLs of missing pictures are removed only with `--force`."""
    one = await site.box("one")
    await one.store(1)
    shutil.copytree(one.folder, site.arguments.data_dir / "two" / "uploads")
    two = await site.box("two", one.user)
    await two.store(2)
    for box in (one, two):
        await box.doctor()
        assert await box.pictures() == 6
    assert FindingKind.REFUSED in {one.kind for one in await one.doctor()}
    await one.doctor(force=True)
    assert await one.pictures() == 3


async def test_a_wrong_database_removes_no_pictures(site: Site) -> None:
    """Pictures of unknown users, or of many unknown faces, are kept unless forced."""
    box = await site.box("one")
    for person in range(1, 6):
        await box.store(person)
    faces = box.ctx.database["faces"]
    kept = await faces.find({}).sort("_id", 1).limit(1).to_list(1)
    await faces.delete_many({})
    await faces.insert_many(kept)  # an older backup
    found = await box.doctor()
    assert FindingKind.REFUSED in {one.kind for one in found}
    assert not any(one.repaired for one in found if one.kind == FindingKind.ORPHANED_PICTURE)
    assert box.files() == 15
    old = RetentionSettings(pictures_days=0.000_000_1)
    await Retention(box.ctx, box.user, old).run()
    assert box.files() == 15 - 3
    for name in ("users", "faces", "galleries", "persons", "upload_locations"):
        await box.ctx.database[name].delete_many({})  # another database
    found = await box.doctor()
    assert [(one.kind, one.repaired) for one in found] == [(FindingKind.DELETED_USER, "")]
    assert box.files() == 12
    await box.doctor(force=True)
    assert box.files() == 0


async def test_a_picture_named_by_another_users_face_is_kept(site: Site) -> None:
    """A picture to which a face of any user refers is not an orphan."""
    box = await site.box("one")
    face = await box.store(1)
    stranger = await box.ctx.users.add({})
    theirs = await stored(box.ctx, stranger, person_facen(2), [])
    await box.ctx.faces.update_one(stranger, {"_id": theirs["_id"]}, {"$set": {"photo": face["photo"]}})
    await box.ctx.database["faces"].update_one({"_id": face["_id"]}, {"$unset": {"photo": ""}})
    await box.doctor()
    assert box.files() == 3


async def test_an_erased_persons_pictures_at_another_box_are_removed_by_that_box(site: Site) -> None:
    """The report names the location; the other box removes these pictures at its next run, and nothing
    else."""
    one = await site.box("one")
    two = await site.box("two", one.user)
    person = await one.ctx.persons.add(one.user, {})
    await one.store(1, person_id=person["_id"])
    await two.store(1, person_id=person["_id"])
    await two.store(2, photo_hash="f" * 32)
    erased = await Erasure(one.ctx, one.user).erase(person["_id"])
    assert (erased.faces, erased.pictures) == (2, 3)
    (elsewhere,) = erased.elsewhere
    assert elsewhere.pictures == 3
    assert "of the box two" in elsewhere.place
    assert (one.files(), two.files()) == (0, 6)
    assert await one.ctx.locations.remove_recorded() == 0
    assert await two.ctx.locations.remove_recorded() == 3
    assert (two.files(), await two.pictures()) == (3, 3)


async def test_reembedding_waits_for_the_box_with_the_pictures(site: Site) -> None:
    """A face whose picture is at another box stays in its galleries until that box recomputes its facen."""

    class Embedder:
        size = 128

        def embed(self, pictures: Sequence[Any]) -> list[Any]:
            return [person_facen(50) for _ in pictures]

    one = await site.box("one")
    two = await site.box("two", one.user)
    for number, box in enumerate((one, two)):
        await box.store(number, detector_info={"pack": "old"})
    with pytest.raises(StoreError, match="faces with pictures at another location: 1;"):
        await Reembedding(one.ctx.database, one.ctx.uploads, Embedder(), "new").run()
    assert [face.galleries for face in await one.faces()] == [["default"], ["default"]]
    assert await Reembedding(two.ctx.database, two.ctx.uploads, Embedder(), "new").run() == Reembedded(1, 0)
    assert {face["detector_info"]["pack"] for face in await two.faces()} == {"new"}

"""Enrolling people from pictures: stored once, refused with a reason, recognised at every camera."""

import asyncio
import os
import re
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import cv2
import pytest
from PIL import ExifTags, Image

from pipeline.extractor import FaceExtractor
from pipeline.faces.quality import PARTS
from store import Context, PersonsSettings, User
from store.identity.enrolment import Enrolment, EnrolmentResult
from store.identity.enrolment_examination import EnrolmentSettings
from store.identity.enrolment_folder import pictures_in
from store.observer import UnobservedStore
from store.settings import ENROLLED_GALLERY, RetentionSettings
from store.spool.spool import Spool
from store.upkeep.doctor.doctor import Doctor
from store.upkeep.retention import Retention
from tests.faces import default_models, portrait, sample_path, wall
from tests.integration.store.recorders import recording
from tests.mongo import StoreArguments
from tests.sightings import person_facen, sighting
from tests.store_checks import assert_pictures_open, block, files_below, unblock

SETTINGS = EnrolmentSettings(gallery="staff", pack="opencv-zoo", threshold=0.8)


@pytest.fixture
async def ctx(store_settings: StoreArguments) -> AsyncIterator[Context]:
    async with store_settings.open(extractor=FaceExtractor(default_models()), facen_size=128) as context:
        yield context


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """Two people with two pictures each."""
    folder = tmp_path / "people"
    for number, name in enumerate(("Ann", "Bob")):
        (folder / name).mkdir(parents=True)
        cv2.imwrite(str(folder / name / "large.png"), portrait(number, 200))
        cv2.imwrite(str(folder / name / "small.jpg"), portrait(number, 120))
    return folder


async def enrol(
    ctx: Context, user: User, folder: Path, settings: EnrolmentSettings = SETTINGS
) -> dict[str, EnrolmentResult]:
    run = Enrolment(ctx, user, settings).run(pictures_in(folder).pictures)
    return {outcome.label: outcome async for outcome in run}


async def test_a_folder_of_people_becomes_persons_with_names(
    ctx: Context, user: User, people: Path, store_settings: StoreArguments
) -> None:
    """Each sub-folder is one person; each face is in three galleries, with valid pictures and the parts of
    its quality score."""
    outcomes = await enrol(ctx, user, people)
    assert {outcome.result for outcome in outcomes.values()} == {"taken"}
    named = {person["_id"]: person["name"] for person in await ctx.persons.find(user, None)}
    assert sorted(named.values()) == ["Ann", "Bob"]
    faces = await ctx.faces.find(user, None)
    assert len(faces) == 4
    for face in faces:
        assert face["meta"].split("/")[0] == named[face["person_id"]]
        assert face["gallery"] == ["default", "staff", ENROLLED_GALLERY]
        parts = face["detector_info"]["quality"]
        assert sum(parts[name] for name in PARTS) == pytest.approx(face["score"], abs=0.001)
        assert_pictures_open(face, store_settings.data_dir / "uploads")
    assert [finding async for finding in Doctor(ctx, timedelta(0)).findings()] == []


async def test_a_second_run_adds_only_new_pictures(ctx: Context, user: User, people: Path) -> None:
    """Known pictures are not changed, also under other names; a new one is added to the person of its
    folder."""
    await enrol(ctx, user, people)
    before = await ctx.faces.find(user, None, sort=[("_id", 1)])
    shutil.copy(people / "Ann" / "large.png", people / "Ann" / "copy.png")
    assert {outcome.result for outcome in (await enrol(ctx, user, people)).values()} == {"known"}
    assert await ctx.faces.find(user, None, sort=[("_id", 1)]) == before
    cv2.imwrite(str(people / "Ann" / "new.jpg"), portrait(0, 160))
    outcomes = await enrol(ctx, user, people)
    assert outcomes["Ann/new.jpg"].result == "taken"
    assert outcomes["Ann/new.jpg"].person_id == outcomes["Ann/large.png"].person_id
    assert await ctx.faces.count(user, None) == 5
    assert await ctx.persons.count(user, None) == 2


async def test_pictures_without_a_name_give_persons_without_names(
    ctx: Context, user: User, tmp_path: Path
) -> None:
    """Pictures of one person, recognised as such, become one person; another one becomes another."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, (person, size) in {"1.jpg": (2, 200), "2.jpg": (2, 140), "3.jpg": (5, 200)}.items():
        cv2.imwrite(str(folder / name), portrait(person, size))
    run = Enrolment(ctx, user, SETTINGS).run(pictures_in(folder, "none").pictures)
    outcomes = {outcome.label: outcome async for outcome in run}
    ids = [outcomes[name].person_id for name in ("1.jpg", "2.jpg", "3.jpg")]
    assert ids[0] == ids[1] != ids[2]
    assert await ctx.persons.count(user, None) == 2


async def test_refused_pictures_have_a_reason_and_store_nothing(
    ctx: Context, user: User, people: Path, store_settings: StoreArguments
) -> None:
    """No face, several, a poor one, no picture, a truncated one, a duplicate of another person's."""
    whole = (people / "Bob" / "large.png").read_bytes()
    shutil.rmtree(people / "Bob")
    bad = people / "Ann"
    cv2.imwrite(str(bad / "wall.jpg"), wall())
    shutil.copy(sample_path(), bad / "group.jpg")
    blurred = cv2.GaussianBlur(cv2.rotate(portrait(0, 80), cv2.ROTATE_90_CLOCKWISE), (0, 0), 4)
    cv2.imwrite(str(bad / "blurred.jpg"), blurred)
    (bad / "text.jpg").write_text("no picture")
    (bad / "empty.jpg").write_bytes(b"")
    (bad / "torn.png").write_bytes(whole[:600])
    (bad / "link.jpg").symlink_to(bad / "nowhere")
    os.mkfifo(people / "pipe.jpg")
    (people / "Eve").mkdir()
    shutil.copy(bad / "large.png", people / "Eve" / "stolen.png")
    outcomes = await enrol(ctx, user, people)
    refused = {label: one.reason for label, one in outcomes.items() if one.result == "refused"}
    assert set(refused) == {
        *(f"Ann/{name}.jpg" for name in ("wall", "group", "blurred", "text", "empty")),
        *("Ann/torn.png", "Eve/stolen.png", "pipe.jpg"),
    }
    assert refused["pipe.jpg"] == "unreadable: no regular file"
    assert refused["Ann/wall.jpg"] == "no face found"
    assert refused["Ann/group.jpg"].startswith("6 faces")
    assert refused["Ann/text.jpg"].startswith("unreadable")
    assert refused["Eve/stolen.png"] == "the same picture is enrolled as Ann; --move moves it to Eve"
    assert all(refused.values())
    assert await ctx.faces.count(user, None) == 2
    assert len(files_below(store_settings.data_dir / "uploads")) == 6
    assert [person["name"] for person in await ctx.persons.find(user, None)] == ["Ann"]


async def test_a_picture_in_the_wrong_folder_is_enrolled_once_confirmed(
    ctx: Context, user: User, people: Path
) -> None:
    """Until then the report says how unlike the others it is; the person gathers no second face."""
    shutil.move(people / "Ann" / "small.jpg", people / "Bob" / "x.jpg")
    outcomes = await enrol(ctx, user, people)
    assert outcomes["Bob/x.jpg"].result == "doubtful"
    assert re.fullmatch(r"unlike the other pictures in this folder \(0\.\d\d\)", outcomes["Bob/x.jpg"].reason)
    assert await ctx.faces.count(user, None) == 3
    assert (await enrol(ctx, user, people))["Bob/x.jpg"].result == "doubtful"
    confirmed = await enrol(ctx, user, people, replace(SETTINGS, confirmed=True))
    assert (confirmed["Bob/x.jpg"].result, confirmed["Bob/x.jpg"].reason) == (
        "taken",
        outcomes["Bob/x.jpg"].reason,
    )
    assert {one.result for one in (await enrol(ctx, user, people)).values()} == {"known"}


async def test_a_new_picture_is_compared_with_the_enrolled_ones(
    ctx: Context, user: User, people: Path
) -> None:
    """Alone in its folder it is as doubtful as beside them."""
    await enrol(ctx, user, people)
    shutil.rmtree(people / "Ann")
    (people / "ann ").mkdir()
    cv2.imwrite(str(people / "ann " / "1.jpg"), portrait(3, 200))
    cv2.imwrite(str(people / "ann " / "2.jpg"), portrait(0, 160))
    outcomes = await enrol(ctx, user, people)
    assert (outcomes["ann /1.jpg"].result, outcomes["ann /2.jpg"].result) == ("doubtful", "taken")
    assert await ctx.persons.count(user, None) == 2


async def test_a_picture_of_another_person_is_moved(ctx: Context, user: User, people: Path) -> None:
    """With `move` it joins the person of its folder, and keeps its stored pictures."""
    (people / "Ann").rename(people / "Eve")
    await enrol(ctx, user, people)
    (people / "Eve").rename(people / "Ann")
    outcomes = await enrol(ctx, user, people)
    assert outcomes["Ann/large.png"].reason == "the same picture is enrolled as Eve; --move moves it to Ann"
    moved = await enrol(ctx, user, people, replace(SETTINGS, move=True))
    assert {moved[name].reason for name in ("Ann/large.png", "Ann/small.jpg")} == {"moved from Eve"}
    ann = await ctx.persons.find_one(user, {"name": "Ann"})
    assert ann is not None
    assert await ctx.faces.count(user, {"person_id": ann["_id"]}) == 2
    assert await ctx.faces.count(user, None) == 4
    assert {one.reason for one in (await enrol(ctx, user, people)).values()} == {""}


async def test_a_person_without_a_name_gets_that_of_the_right_folder(
    ctx: Context, user: User, people: Path
) -> None:
    """Pictures that were enrolled without a name are not refused in the folder of their person."""
    run = Enrolment(ctx, user, SETTINGS).run(pictures_in(people / "Ann", "none").pictures)
    (person_id,) = {outcome.person_id async for outcome in run}
    outcomes = await enrol(ctx, user, people)
    assert outcomes["Ann/large.png"].reason == f"person {person_id} is named Ann now"
    assert (outcomes["Ann/small.jpg"].result, outcomes["Ann/small.jpg"].person_id) == ("known", person_id)


async def test_completes_an_interrupted_enrolment(
    ctx: Context, user: User, people: Path, store_settings: StoreArguments
) -> None:
    """It stops if the uploads fail; the next run completes the partly stored face and adds it once."""
    uploads = store_settings.data_dir / "uploads"
    block(uploads)
    with pytest.raises(Exception, match="uploads"):
        await enrol(ctx, user, people)
    assert await ctx.faces.count(user, None) == 1
    unblock(uploads)
    outcomes = await enrol(ctx, user, people)
    assert {outcome.result for outcome in outcomes.values()} == {"taken"}
    faces = await ctx.faces.find(user, None)
    assert len(faces) == 4
    for face in faces:
        assert_pictures_open(face, uploads)


@pytest.mark.parametrize("scope", ["camera", "global"])
async def test_enrolled_people_are_known_at_every_camera(
    store_settings: StoreArguments, people: Path, tmp_path: Path, scope: str
) -> None:
    """Enrolled by another process, they take precedence over persons created by a running recorder."""
    persons = PersonsSettings.model_validate({"time_zone": "UTC", "scope": scope})
    here = StoreArguments(store_settings.settings, persons, store_settings.data_dir)
    spool = Spool(tmp_path / "spool", 100_000_000, UnobservedStore())
    extractor = FaceExtractor(default_models())
    ann = extractor.extract(people / "Ann" / "small.jpg")[0]
    async with here.open() as ctx, here.open(extractor=extractor, load_facens=False) as command:
        user = await ctx.users.add({})
        facen = ctx.faces.Model.from_extraction_face(ann).vector()
        async with recording(ctx, user, spool) as running:
            spool.put(sighting(1, facen=facen, cam_id="door"))
            await asyncio.wait_for(running.recorder.drained(), 20)
            stranger = running.events[0].person_id
            outcomes = await enrol(command, user, people)
            async with asyncio.timeout(5):
                # Another process's doing: there is no event here to wait for.
                while await ctx.facens.count(user["_id"], ENROLLED_GALLERY) < 4:  # noqa: ASYNC110  see above
                    await asyncio.sleep(0.01)
            for cam_id in ("door", "gate"):
                spool.put(sighting(2, facen=facen, cam_id=cam_id))
            spool.put(sighting(3, facen=person_facen(3), cam_id="gate"))
            await asyncio.wait_for(running.recorder.drained(), 20)
    *known, other = running.events[1:]
    expected = outcomes["Ann/small.jpg"].person_id
    assert [(event.person_id, event.created) for event in known] == [(expected, False)] * 2
    assert stranger != expected
    assert other.created


async def test_retention_keeps_enrolled_people(ctx: Context, user: User, people: Path) -> None:
    """Regardless of age and limits, enrolled faces and their pictures are kept."""
    outcomes = await enrol(ctx, user, people)
    old = {"$set": {"timestamp": sighting(1).captured_at - timedelta(days=4000)}}
    await ctx.faces.update_many(user, None, old)
    settings = RetentionSettings(faces_days=1, pictures_days=1, max_faces=1, max_picture_bytes=1)
    removed = await Retention(ctx, user, settings).run()
    assert (removed.faces, removed.pictures) == (0, 0)
    assert await ctx.faces.count(user, None) == len(outcomes)


@pytest.mark.parametrize("name", ["photo.jpg", "photo.png", "photo.webp", "photo.tif", "photo.avif"])
async def test_the_stored_photo_has_no_metadata(
    ctx: Context, user: User, tmp_path: Path, store_settings: StoreArguments, name: str
) -> None:
    """Location, serial number, owner, comment and embedded thumbnail are removed; the picture is upright."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.ImageDescription] = "SECRETdescription"
    exif[ExifTags.Base.Make] = "SECRETmake"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.BodySerialNumber] = "SECRETserial"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (52.0, 31.0, 12.0)
    folder = tmp_path / "people"
    (folder / "Ann").mkdir(parents=True)
    rgb = cv2.cvtColor(portrait(0, 200), cv2.COLOR_BGR2RGB)
    lying = Image.fromarray(rgb).transpose(Image.Transpose.ROTATE_90)
    options = {"comment": b"SECRETcomment"} if name.endswith("jpg") else {}
    lying.save(folder / "Ann" / name, exif=exif, **options)
    with (folder / "Ann" / name).open("ab") as file:
        file.write(b"SECRETvideo behind the picture" if name.endswith("jpg") else b"")
    original = (folder / "Ann" / name).read_bytes()
    assert b"SECRET" in original
    outcomes = await enrol(ctx, user, folder)
    assert outcomes[f"Ann/{name}"].result == "taken"
    files = files_below(store_settings.data_dir / "uploads")
    assert len(files) == 3
    for path in files:
        data = path.read_bytes()
        assert b"SECRET" not in data
        assert b"Exif" not in data
        with Image.open(path) as stored:
            assert not dict(stored.getexif())
    photo = next(path for path in files if "photo" in path.name)
    with Image.open(photo) as stored:
        assert stored.size == Image.fromarray(rgb).size
    assert {one.result for one in (await enrol(ctx, user, folder)).values()} == {"known"}

"""No input of any content ends the process: documents, settings, URLs and files, given to their readers."""

import asyncio
import contextlib
import dataclasses
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pymongo
import pytest
import structlog
from bson import ObjectId
from pymongo.errors import BulkWriteError, PyMongoError

from cameras.settings import CameraSettings
from cameras.urls import UrlKind, host_of
from daemon.config import settings_file
from daemon.config.camera_documents import read_cameras
from daemon.config.camera_secrets import CameraSecrets
from daemon.config.collection_cameras import read_copy
from daemon.config.masking import masked
from daemon.config.secret_references import SecretError
from daemon.config.service_user import read_or_create_token
from daemon.config.validation import validate, validate_camera
from daemon.errors import SettingsError, StartError
from daemon.runtime.crashes import CrashNotes
from store import Context, StoreError, User
from store.errors import MalformedSightingError
from store.facens.engine.gallery_array import GalleryArray, Precision
from store.facens.engine.local import LocalFacens
from store.facens.sync.migrate import migrate_facens
from store.facens.sync.snapshot import Identity, SnapshotError, SnapshotWriter, read_snapshot, summary
from store.identity.changes import PersonChanges
from store.identity.erasure import Erasure
from store.identity.evidence import EvidenceRules, PersonEvidence, distinct_pairs
from store.identity.references import ReferenceRules, References
from store.identity.unassigned import UnassignedFaces
from store.observer import UnobservedStore
from store.queries.person_history import person_history
from store.settings import RetentionSettings
from store.spool.codec import decode, encode
from store.spool.spool import Spool
from store.upkeep.doctor.doctor import Doctor
from store.upkeep.job_runs import JobRuns
from store.upkeep.retention import Retention
from tests.facens import SIZE, face, person_facen, stored
from tests.fuzz import COLLECTIONS, INPUTS, Generator
from tests.mongo import StoreArguments
from tests.sightings import sighting

AT_ONCE = 300
"""Documents that are there at the same time."""
PACK = "opencv-zoo"
RULES = ReferenceRules(min_score=-3.0, min_shots=1)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Logging is off: the inputs cause too many lines."""
    with structlog.testing.capture_logs():
        yield


@pytest.fixture
def raw(store_settings: StoreArguments) -> Iterator[Any]:
    """The database by the driver itself, as another program has it."""
    url = store_settings.settings.url.get_secret_value()
    # MongoDB's answer to a duplicate has its dates, of any year.
    with pymongo.MongoClient(url, datetime_conversion="DATETIME_AUTO") as client:
        yield client[store_settings.settings.database]


def insert(raw: Any, made: Generator, user: User, persons: list[int]) -> None:
    documents: dict[str, list[dict[str, Any]]] = {}
    for _ in range(AT_ONCE):
        collection = made.one("faces", "faces", "faces", "persons", *COLLECTIONS)
        documents.setdefault(collection, []).append(made.document(collection, user["_id"], persons))
    for collection, some in documents.items():
        with contextlib.suppress(BulkWriteError):  # a unique index refuses some
            raw[collection].insert_many(some, ordered=False)
    with contextlib.suppress(PyMongoError):
        raw.faces.update_many({"_id": {"$mod": [7, 0]}}, {"$set": {"gallery": made.value()}})


async def read_everything(ctx: Context, user: User, box: Path) -> None:
    """Every reader of the store that goes through many documents."""
    for one in await ctx.faces.find(user, None):
        json.dumps(one.as_object(), default=str)
    for collection in (ctx.galleries, ctx.cameras, ctx.persons):
        await collection.find(user, None, sort=[("_id", 1)])
        await collection.count(user, None)
    await ctx.users.find(None)
    await ctx.counters.find(None)
    await ctx.users.authenticate(user["token"])
    new = face(person_facen(2))
    for gallery in ("default", "staff"):
        await ctx.faces.identify(user, gallery, new, 20, 0.0, {"cam_id": "door"})
    await ctx.persons.identify(user, face(person_facen(90)), "staff", 0.99, create=True)
    await ctx.malformed.search()
    references = References(ctx, user, RULES)
    await UnassignedFaces(ctx, user, 0.8).reassess()
    await distinct_pairs(ctx, user)
    changes = PersonChanges(ctx, user, RULES)
    await changes.list_changes()
    evidence = PersonEvidence(ctx, user, EvidenceRules(0.8, 0.9), RULES)
    await evidence.run_nightly("propose")
    await evidence.proposals()
    for person in (await ctx.persons.find(user, None, limit=3)) or []:
        await person_history(ctx, user, person["_id"])
        await references.choose(person["_id"], "persons")
    for job in ("retention", "doctor"):
        await JobRuns(ctx.database, "box").last(job)
    read_cameras(await ctx.database["cameras"].ungated.find({}).to_list(None), CameraSecrets(box, {}))
    await migrate_facens(ctx.database, LocalFacens(SIZE, pack=PACK))
    settings = RetentionSettings(faces_days=3000, pictures_days=2000, max_faces=5000, max_picture_bytes=1)
    await Retention(ctx, user, settings).run()
    for repair in (False, True):
        async for finding in Doctor(ctx, timedelta()).findings(repair=repair):
            json.dumps(finding.as_json())


async def test_documents_of_any_content_end_nothing(
    store_settings: StoreArguments, raw: Any, tmp_path: Path
) -> None:
    """The store opens on them, every reader goes through them, and the follower passes over them."""
    made = Generator()
    for _ in range(max(1, INPUTS * 2 // 5 // AT_ONCE)):
        raw.client.drop_database(raw.name)
        async with store_settings.open(facen_size=SIZE, pack=PACK) as running:
            user = await running.users.add({})
            for gallery in ("default", "staff", "persons", "references", "cam_door"):
                await running.galleries.ensure(user, gallery)
            persons = [(await running.persons.add(user, {}))["_id"] for _ in range(4)]
            insert(raw, made, user, persons)
            async with store_settings.open(facen_size=SIZE, pack=PACK) as starting:
                await read_everything(starting, user, tmp_path)
                for person in persons:
                    with contextlib.suppress(StoreError):  # its own documents may be damaged
                        await Erasure(starting, user).erase(person)
                new = await stored(starting, user, person_facen(77), ["staff"])
                for _ in range(1000):
                    if new["_id"] in await running.facens.ids(user["_id"], "staff"):
                        break
                    await asyncio.sleep(0.02)
                else:
                    raise AssertionError(
                        f"the follower is behind or stopped: {running.facens_lifecycle.fault}"
                    )
            await read_everything(running, user, tmp_path)


def test_settings_and_urls_of_any_content_are_taken_or_refused(tmp_path: Path) -> None:
    """A refusal is a line for a person; what is taken can be used."""
    made = Generator()
    cameras = list(CameraSettings.model_fields)
    for _ in range(INPUTS * 3 // 10):
        fields = {made.one(*cameras): made.plain() for _ in range(made.random.randrange(3))}
        raw = {"id": "door", "url": made.text(), **fields}
        with contextlib.suppress(SettingsError):
            camera = validate_camera(raw, "test")
            json.dumps([camera.connect_url(), camera.masked_url, camera.fingerprint])
            if camera.kind in (UrlKind.RTSP, UrlKind.HTTP):
                assert host_of(camera.url)
        read_cameras([raw, {**raw, "id": made.plain()}, made.plain()], CameraSecrets(tmp_path, {}))
        section = made.one("store", "facens", "uploads", "http", "jobs", "persons", "pipeline", "spool")
        known = list(type(getattr(settings_file.Settings(), section)).model_fields)
        with contextlib.suppress(SettingsError):
            settings = validate({section: {made.one(*known): made.plain()}}, "test", tmp_path)
            json.dumps(masked(settings), default=str)


def test_files_of_any_content_are_read_or_refused(tmp_path: Path) -> None:
    """Each by its own error, or as if it were not there."""
    made = Generator()
    files = _files(tmp_path)
    names = sorted(files)
    for number in range(INPUTS * 3 // 10):
        name = names[number % len(names)]
        (tmp_path / name).write_bytes(made.damaged(files[name]))
        _READERS[name](tmp_path)


IDENTITY = Identity("db", PACK, SIZE, Precision.FULL, "local of 1")
CAMERA = CameraSettings(id="door", url="/clip.mp4")


def _files(folder: Path) -> dict[str, bytes]:
    """A sound file of each kind."""
    array = GalleryArray(SIZE, Precision.FULL)
    for number in range(5):
        array.add(number, person_facen(number))
    with (folder / "local.facens").open("wb") as file:
        writer = SnapshotWriter(file, IDENTITY)
        writer.gallery((ObjectId(), "default"), array.view())
        writer.end()
    (folder / "secrets").mkdir()
    blame = {"door": {"crashes": 2, "at": 1.8e9, "settings": CAMERA.fingerprint}}
    return {
        "local.facens": (folder / "local.facens").read_bytes(),
        "crashes.json": json.dumps(blame).encode(),
        "cameras.json": json.dumps([{"id": "door", "url": "/clip.mp4", "max_fps": 5}]).encode(),
        "settings.toml": b'detector = "x"\n[http]\nport = 9464\n[[cameras]]\nid = "door"\nurl = "/c.mp4"\n',
        "one.sighting": encode(sighting()),
        "token": b"abcdefgh\n",
        "secrets/door": b"s3cret\n",
    }


def _read_snapshot(folder: Path) -> None:
    for read in (lambda path: read_snapshot(path, IDENTITY), summary):
        with contextlib.suppress(SnapshotError):
            read(folder / "local.facens")


def _read_crashes(folder: Path) -> None:
    notes = CrashNotes(folder)
    notes.held_seconds(CAMERA)
    notes.blame(CAMERA)


def _read_cameras(folder: Path) -> None:
    with contextlib.suppress(SettingsError):
        read_copy(folder)


def _read_settings(folder: Path) -> None:
    with contextlib.suppress(SettingsError):
        settings_file.load(folder / "settings.toml", {})
    settings_file.http_alone(folder / "settings.toml", {})


def _read_sighting(folder: Path) -> None:
    content = (folder / "one.sighting").read_bytes()
    with contextlib.suppress(MalformedSightingError):
        assert dataclasses.asdict(decode(content))
    spool = folder / "spool"
    spool.mkdir(exist_ok=True)
    (spool / f"{1:015d}_{2:032x}.sighting").write_bytes(content)
    taken_up = Spool(spool, 10**7, UnobservedStore())
    for sighting_id in taken_up.pending():
        with contextlib.suppress(MalformedSightingError):
            taken_up.get(sighting_id)
        taken_up.done(sighting_id)


def _read_token(folder: Path) -> None:
    with contextlib.suppress(StartError):
        read_or_create_token(folder / "token")


def _read_secret(folder: Path) -> None:
    with contextlib.suppress(SecretError):
        CameraSecrets(folder, {}).get("door")


_READERS = {
    "local.facens": _read_snapshot,
    "crashes.json": _read_crashes,
    "cameras.json": _read_cameras,
    "settings.toml": _read_settings,
    "one.sighting": _read_sighting,
    "token": _read_token,
    "secrets/door": _read_secret,
}

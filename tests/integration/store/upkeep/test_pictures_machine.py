"""A stateful test: no sequence of commands on several boxes loses a picture of a stored face, or its URL."""

import asyncio
import shutil
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pymongo
import pytest
from bson import ObjectId
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from pydantic import SecretStr

from store import Context, User
from store.errors import NotFoundError
from store.facens import LocalFacens
from store.identity.changes import PersonChanges
from store.identity.erasure import Erasure
from store.observer import UnobservedStore
from store.settings import PersonsSettings, RetentionSettings, StoreSettings
from store.spool.recording import Recording
from store.upkeep.doctor.doctor import Doctor
from store.upkeep.retention import Retention
from store.uploads.face_pictures import PICTURES
from store.uploads.folder import FolderUploads
from tests.sightings import RECORDING, sighting

URL = "https://pictures.example/"
"""The same on every box, as a path such as /var/lib/facend is."""
NOW = datetime.now(UTC)
OLD, DAYS = timedelta(days=40), 30
BOXES = st.sampled_from(["own", "other user", "shared user", "shared folder", "clone"])
PERSONS = st.integers(1, 3)


@dataclass
class Box:
    home: Path
    name: str
    user: User
    folder: Path
    ctx: Context | None = None
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    mounted: bool = True
    moves: int = 0


class Boxes(RuleBasedStateMachine):
    """Boxes on one MongoDB, and what each living face should name."""

    mongo_url: str
    root: Path

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = self.root / uuid4().hex[:12]
        self.settings = StoreSettings(url=SecretStr(self.mongo_url), database=f"test-{uuid4().hex[:16]}")
        self.looks = 0
        self.named: dict[int, dict[str, str]] = {}
        self.stored_by: dict[int, str] = {}
        self.boxes: dict[str, Box] = {}
        self.runner.run(self._set_up())

    async def _set_up(self) -> None:
        first = Box(self.folder / "a", "a", User(), self.folder / "a" / "uploads")
        await self._open(first)
        assert first.ctx is not None
        users = [await first.ctx.users.add({}) for _ in range(3)]
        first.user = users[0]
        self.boxes["own"] = first
        await self._store("own", 1, timedelta(days=1))
        shutil.copytree(self.folder / "a", self.folder / "e")
        more = {
            "other user": Box(self.folder / "b", "b", users[1], self.folder / "b" / "uploads"),
            "shared user": Box(self.folder / "c", "c", users[0], self.folder / "c" / "uploads"),
            "shared folder": Box(self.folder / "d", "d", users[2], first.folder),
            "clone": Box(self.folder / "e", "e", users[0], self.folder / "e" / "uploads"),
        }
        for name, box in more.items():
            self.boxes[name] = box
            await self._open(box)

    async def _open(self, box: Box) -> None:
        box.stack = AsyncExitStack()
        box.home.mkdir(parents=True, exist_ok=True)
        opened = Context.open(
            self.settings,
            PersonsSettings(time_zone="UTC", scope="global"),
            data_dir=box.home,
            uploads=FolderUploads(box.folder, URL),
            facens=LocalFacens(),
            box=box.name,
        )
        box.ctx = await box.stack.enter_async_context(opened)

    def _box(self, name: str) -> tuple[Context, User]:
        box = self.boxes[name]
        assert box.ctx is not None
        return box.ctx, box.user

    async def _store(self, name: str, person: int, age: timedelta, *, enrolled: bool = False) -> None:
        ctx, user = self._box(name)
        self.looks += 1
        seen = sighting(person, self.looks, captured_at=NOW - age + timedelta(minutes=self.looks))
        recording = Recording(ctx, user, RECORDING, UnobservedStore())
        stored = await recording.record(uuid4().hex, seen)
        if enrolled:
            (face,) = await ctx.faces.find(user, {"_id": stored.face_id})
            await ctx.faces.add_to_galleries(face, ["enrolled"])
        self.named[stored.face_id] = {one: getattr(stored, one).removeprefix(URL) for one in PICTURES}
        self.stored_by[stored.face_id] = name

    @rule(name=BOXES, person=PERSONS, old=st.booleans(), enrolled=st.booleans())
    def store(self, name: str, person: int, old: bool, enrolled: bool) -> None:
        self.runner.run(self._store(name, person, OLD if old else timedelta(days=1), enrolled=enrolled))

    @rule(name=BOXES, repair=st.booleans())
    def doctor(self, name: str, repair: bool) -> None:
        ctx, _ = self._box(name)

        async def check() -> None:
            async for _ in Doctor(ctx, timedelta(0)).findings(repair=repair):
                pass

        self.runner.run(check())

    @rule(name=BOXES)
    def nightly(self, name: str) -> None:
        ctx, _ = self._box(name)
        self.runner.run(Doctor(ctx, timedelta(0)).nightly())
        self.runner.run(ctx.locations.remove_recorded())

    @rule(name=BOXES, by=st.sampled_from(["age", "number", "bytes"]))
    def retention(self, name: str, by: str) -> None:
        ctx, user = self._box(name)
        limits = {"age": {"faces_days": DAYS}, "number": {"max_faces": 2}, "bytes": {"max_picture_bytes": 1}}
        wanted = RetentionSettings(**limits[by], persons_grace_seconds=0)  # type: ignore[arg-type]  # by name
        self.runner.run(Retention(ctx, user, wanted).run())
        together = {"own", "clone"}  # one place, as far as can be known
        mine = {face for face, box in self.stored_by.items() if box == name or {box, name} == together}
        faces = self._faces()
        assert self.named.keys() - mine <= faces.keys(), "another box's faces went"
        for face in mine & self.named.keys():
            if face not in faces:
                del self.named[face]
            elif by == "bytes":
                self.named[face] = {one: key for one, key in self.named[face].items() if one in faces[face]}

    @rule(name=BOXES, which=st.integers(0, 5))
    def erase(self, name: str, which: int) -> None:
        ctx, user = self._box(name)
        persons = self.runner.run(ctx.faces.find(user, None))
        ids = sorted({face["person_id"] for face in persons if face.get("person_id") is not None})
        if not ids:
            return
        person = ids[which % len(ids)]
        theirs = {face["_id"] for face in persons if face.get("person_id") == person}
        self.runner.run(Erasure(ctx, user).erase(person))
        faces = self._faces()
        for face in list(self.named):
            if face in theirs:
                assert face not in faces
                del self.named[face]
            elif face in faces and "photo" not in faces[face]:  # it showed the person
                self.named[face].pop("photo", None)
            elif face not in faces:  # withheld, and alike
                del self.named[face]

    @rule(name=BOXES, first=st.integers(0, 3), second=st.integers(0, 3))
    def merge(self, name: str, first: int, second: int) -> None:
        ctx, user = self._box(name)
        ids = [person["_id"] for person in self.runner.run(ctx.persons.find(user, None))]
        if len(ids) > 1 and ids[first % len(ids)] != ids[second % len(ids)]:
            changes = PersonChanges(ctx, user, ctx.persons.rules.references)
            self.runner.run(changes.merge(ids[first % len(ids)], ids[second % len(ids)]))

    @rule(name=BOXES, which=st.integers(0, 9))
    def split(self, name: str, which: int) -> None:
        ctx, user = self._box(name)
        faces = self.runner.run(ctx.faces.find(user, {"person_id": {"$ne": None}}))
        if faces:
            face = faces[which % len(faces)]
            changes = PersonChanges(ctx, user, ctx.persons.rules.references)
            try:
                self.runner.run(changes.split(face["person_id"], [face["_id"]]))
            except (NotFoundError, ValueError):  # it is their only face
                return

    @rule(name=st.sampled_from(["own", "other user", "shared user", "clone"]))
    def unmount_or_mount(self, name: str) -> None:
        box = self.boxes[name]
        disk, under = box.folder.with_name("disk"), box.folder.with_name(f"under{uuid4().hex[:6]}")
        if box.mounted:
            if box.folder.exists():
                box.folder.rename(disk)
            else:
                disk.mkdir(parents=True)
            box.folder.mkdir()
        else:
            box.folder.rename(under)
            disk.rename(box.folder)
        box.mounted = not box.mounted

    @rule(name=st.sampled_from(["other user", "shared user", "clone"]))
    def move(self, name: str) -> None:
        """The data folder gets another path."""
        box = self.boxes[name]
        box.moves += 1
        new = box.home.with_name(f"{box.home.name.split('-')[0]}-{box.moves}")
        self.runner.run(box.stack.aclose())
        box.home.rename(new)
        box.folder = new / box.folder.relative_to(box.home)
        box.home = new
        self.runner.run(self._open(box))

    @rule(name=BOXES)
    def restart(self, name: str) -> None:
        box = self.boxes[name]
        self.runner.run(box.stack.aclose())
        self.runner.run(self._open(box))

    def _faces(self) -> dict[int, dict[str, object]]:
        with pymongo.MongoClient(self.mongo_url) as client:
            return {face["_id"]: face for face in client[self.settings.database]["faces"].find()}

    @invariant()
    def every_named_picture_is_there(self) -> None:
        faces = self._faces()
        assert faces.keys() == self.named.keys()
        owners = {box.user["_id"] for box in self.boxes.values()}
        there = {
            "/".join(path.parts[-3:]): path
            for path in self.folder.rglob("*.*")
            if path.is_file() and ObjectId.is_valid(path.parent.parent.name)
        }
        for face, named in self.named.items():
            assert faces[face]["owner"] in owners
            for picture, key in named.items():
                assert faces[face].get(picture) == URL + key, f"a face forgot its {picture}"
                assert key in there, f"the {picture} of a face is gone"

    def teardown(self) -> None:
        for box in self.boxes.values():
            self.runner.run(box.stack.aclose())
        self.runner.close()
        with pymongo.MongoClient(self.mongo_url) as client:
            client.drop_database(self.settings.database)
        shutil.rmtree(self.folder)


@pytest.mark.timeout(900)
def test_no_stored_face_loses_a_picture(mongo_url: str, tmp_path: Path) -> None:
    """Any sequence of storing, checking, repairing, erasing, merging, moving and unmounting on five boxes."""

    class Machine(Boxes):
        pass

    Machine.mongo_url, Machine.root = mongo_url, tmp_path
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=5, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )

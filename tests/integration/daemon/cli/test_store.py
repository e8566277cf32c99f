"""The commands on what is stored: users, galleries, persons, enrol, export, doctor."""

import asyncio
import json
import os
import subprocess
import tracemalloc
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import cv2
import pytest
from click.testing import CliRunner, Result

from daemon.cli.main import facend
from daemon.config.service_user import service_user
from daemon.errors import StartError
from daemon.runtime import data_folder
from store import Context, PersonsSettings, User
from store.observer import UnobservedStore
from store.spool.codec import encode
from store.spool.spool import Spool
from tests.daemon_process import FACEND, write_settings
from tests.facens import face, person_facen
from tests.faces import models_dir, portrait
from tests.integration.store.recorders import recording
from tests.mongo import StoreArguments
from tests.sightings import sighting
from tests.store_checks import files_below

Work = Callable[[Context, User], Awaitable[Any]]


class Box:
    """A settings file on a database of this test's own, commands on it, and a way to look past them."""

    def __init__(self, arguments: StoreArguments, settings: Path) -> None:
        self._arguments = arguments
        self.settings = settings
        self.data_dir = settings.parent / "data"

    def run(self, *arguments: str, **options: Any) -> Result:
        words = [*arguments, "--settings", str(self.settings)]
        return CliRunner().invoke(facend, words, catch_exceptions=True, **options)

    def text(self, *arguments: str) -> str:
        """What a command that succeeds prints."""
        result = self.run(*arguments)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self.text(*arguments, "--json"))

    def error(self, *arguments: str) -> str:
        """What a command that fails says."""
        result = self.run(*arguments)
        assert isinstance(result.exception, StartError), (result.output, result.exception)
        return str(result.exception)

    def make_own_user(self) -> None:
        """As the daemon does when it starts."""
        data_folder.prepare(self.data_dir)

        async def made() -> None:
            data = StoreArguments(self._arguments.settings, self._arguments.persons, self.data_dir)
            async with data.open() as ctx:
                await service_user(ctx, "", self.data_dir)

        asyncio.run(made())

    def store(self, work: Work) -> Any:
        """Does something on the store as this box's own user."""

        async def opened() -> Any:
            data = StoreArguments(self._arguments.settings, self._arguments.persons, self.data_dir)
            async with data.open() as ctx:
                token = (self.data_dir / "token").read_text().strip()
                return await work(ctx, await ctx.users.authenticate(token))

        return asyncio.run(opened())


@pytest.fixture
def box(store_settings: StoreArguments, tmp_path: Path) -> Box:
    settings = store_settings.settings
    store = {"url": settings.url.get_secret_value(), "database": settings.database}
    persons = PersonsSettings(time_zone="UTC", scope="camera")
    arguments = StoreArguments(settings, persons, store_settings.data_dir)
    own = persons.model_dump(include={"time_zone", "scope"})
    box = Box(arguments, write_settings(tmp_path, [], store=store, persons=own))
    box.make_own_user()
    return box


def visits(box: Box, *seen: tuple[int, int, str]) -> list[int]:
    """Stores visits of (person, days ago, camera); gives the person_ids."""

    async def work(ctx: Context, user: User) -> list[int]:
        spool = Spool(box.data_dir / "spool", 100_000_000, UnobservedStore())
        now = datetime.now(UTC)
        async with recording(ctx, user, spool) as running:
            for look, (person, days, cam_id) in enumerate(seen):
                spool.put(
                    sighting(
                        person, look, cam_id=cam_id, captured_at=now - timedelta(days=days, seconds=-look)
                    )
                )
            await asyncio.wait_for(running.recorder.drained(), 20)
            return [
                event.person_id
                for event in sorted(running.events, key=lambda one: one.visit_id)
                if event.person_id
            ]

    return box.store(work)


def test_a_token_is_shown_once(box: Box) -> None:
    """`users add` prints the token; afterwards no command does, and it lets its owner in until disabled."""
    made = box.json("users", "add", "--name", "Ann")
    listed = box.json("users", "list")
    assert [user["name"] for user in listed] == [None, "Ann"]
    assert [user["this_box"] for user in listed] == [True, False]
    assert made["token"] not in box.text("users", "list") + json.dumps(listed)
    assert box.json("galleries", "add", "mine", "--user", made["token"])["name"] == "mine"
    assert [one["name"] for one in box.json("galleries", "list", "--user", made["id"])] == ["mine"]
    assert "mine" not in box.text("galleries", "list")
    assert "disabled" in box.text("users", "disable", made["id"])
    assert "not active" in box.error("galleries", "list", "--user", made["token"])
    assert "active" in box.text("users", "enable", made["token"])
    box.text("galleries", "list", "--user", made["token"])


def test_the_box_does_not_disable_itself_by_mistake(box: Box) -> None:
    """Its own user is disabled only with --yes; an unknown user is an error."""
    own = box.json("users", "list")[0]["id"]
    assert "--yes" in box.error("users", "disable", own)
    assert "no user" in box.error("users", "disable", "0" * 24)
    box.text("users", "disable", own, "--yes")
    assert not box.json("users", "list")[0]["active"]


def test_galleries_are_made_counted_and_dropped(box: Box) -> None:
    """A dropped gallery is gone and its faces stay; names that are wrong, taken or unknown are errors."""
    box.text("galleries", "add", "staff")
    assert "already" in box.error("galleries", "add", "staff")
    assert "characters" in box.error("galleries", "add", "no spaces")
    assert "no gallery" in box.error("galleries", "show", "guests")

    async def fill(ctx: Context, user: User) -> None:
        for number in range(3):
            made = await ctx.faces.add(user, face(person_facen(number), person_id=number // 2))
            await ctx.faces.add_to_galleries(made, ["default", "staff"])

    box.store(fill)
    shown = box.json("galleries", "show", "staff")
    assert (shown["faces"], shown["persons"]) == (3, 2)
    assert box.run("galleries", "drop", "staff", input="n\n").exit_code != 0
    assert box.json("galleries", "show", "staff")["faces"] == 3
    box.text("galleries", "drop", "staff", "--yes")
    assert {one["name"]: one["faces"] for one in box.json("galleries", "list")} == {"default": 3}


def test_a_person_is_shown_with_their_visits_and_why_they_are_a_friend(box: Box) -> None:
    """Cameras, visits and the days that count stand there; another camera counts its own days."""
    days = [(1, ago, "door") for ago in range(5)]
    person, *rest = visits(box, *days, (1, 1, "gate"), (1, 9, "door"))
    listed = box.json("persons", "list")
    assert sum(one["faces"] for one in listed) == 7
    shown = box.json("persons", "show", str(person))
    (door,) = shown["cameras"]
    today = datetime.now(UTC).date()
    assert door["days"] == [str(today - timedelta(days=ago)) for ago in (4, 3, 2, 1, 0)]
    assert (door["friend"], door["needed"], door["visits"]) == (True, 5, 6)
    assert len(shown["visits"]) == 6
    assert "a friend, seen on 5 of the last 7 days" in box.text("persons", "show", str(person))
    gate = box.json("persons", "show", str(next(one for one in rest if one != person)))["cameras"][0]
    assert (gate["friend"], gate["days"]) == (False, [str(today - timedelta(days=1))])
    assert "no person" in box.error("persons", "show", "4711")


def test_a_persons_times_are_those_of_the_days_that_count(box: Box) -> None:
    """Both in the site's zone, which is named, wherever the machine believes to be."""
    (person,) = visits(box, (1, 0, "door"))
    zone = "Pacific/Kiritimati"
    box.settings.write_text(box.settings.read_text().replace('"UTC"', f'"{zone}"'))
    (door,) = box.json("persons", "show", str(person))["cameras"]
    seen = datetime.fromisoformat(door["last"]).astimezone(ZoneInfo(zone))
    text = box.text("persons", "show", str(person))
    assert f"{seen:%a %Y-%m-%d}" in text.splitlines()[3]
    assert text.count(f"{seen:%Y-%m-%d %H:%M:%S}") == 3
    assert text.splitlines()[-1] == f"times are in {zone}"


def test_persons_are_merged_and_the_change_is_told_and_undone(box: Box) -> None:
    """Two persons are merged and separated again; the changes are listed; an error is one line."""
    one, other = visits(box, (1, 0, "door"), (2, 0, "door"))
    (merged,) = box.json("persons", "merge", str(one), str(other))
    assert (merged["kind"], merged["faces"], merged["state"]) == ("merge", 1, "done")
    assert [person["id"] for person in box.json("persons", "list")] == [str(one)]
    assert f"merge {other} into {one}" in " ".join(box.text("persons", "changes").split())
    undone = f"change {merged['number']} undone: merge {other} into {one}, 1 face\n"
    assert box.text("persons", "undo") == undone
    assert [person["faces"] for person in box.json("persons", "list")] == [1, 1]
    assert "there is no person 99" in box.error("persons", "rename", "99", "Anna")


def test_a_person_is_renamed_and_split(box: Box) -> None:
    """The list has the name and the history the change; the named faces get another person."""
    person, *_ = visits(box, (1, 0, "door"), (1, 1, "door"))
    box.text("persons", "rename", str(person), "Anna")
    assert [one["name"] for one in box.json("persons", "list")] == ["Anna"]
    assert box.text("persons", "rename", str(person), "").endswith("to no name\n")
    assert [one["name"] for one in box.json("persons", "list")] == [None]
    box.text("persons", "undo")
    assert [one["name"] for one in box.json("persons", "list")] == ["Anna"]
    faces = [json.loads(line)["id"] for line in box.text("export", "faces").splitlines()]
    assert "--faces: expected" in box.error("persons", "split", str(person), "--faces", "")
    (split,) = box.json("persons", "split", str(person), "--faces", str(faces[1]))
    assert (split["kind"], split["faces"], split["state"]) == ("split", 1, "done")
    assert [one["faces"] for one in box.json("persons", "list")] == [1, 1]
    owners = {
        one["id"]: one["person_id"] for one in map(json.loads, box.text("export", "faces").splitlines())
    }
    assert owners[faces[0]] == str(person) != owners[faces[1]]
    told = [(one["kind"], one["state"]) for one in box.json("persons", "changes")]
    assert sorted(told) == [("rename", "done"), ("rename", "undone"), ("split", "done")]


def test_an_erased_person_is_gone_from_every_command(box: Box) -> None:
    """Erasing asks first; afterwards neither list, export nor the uploads have anything of them."""
    person, other = visits(box, (1, 0, "door"), (2, 0, "door"))
    assert box.run("persons", "erase", str(person), input="n\n").exit_code != 0
    assert "--yes" in box.error("persons", "erase", str(person), "--json")
    dead = box.data_dir / "spool" / "dead"
    dead.mkdir(parents=True, exist_ok=True)
    for number, who in enumerate((1, 2)):
        (dead / f"{number}.sighting").write_bytes(encode(sighting(who, 5)))
    erased = box.json("persons", "erase", str(person), "--yes")
    assert (erased["faces"], erased["sightings"]) == (1, 1)
    assert [path.name for path in dead.iterdir()] == ["1.sighting"]
    assert [one["id"] for one in box.json("persons", "list")] == [str(other)]
    (left,) = box.text("export", "faces").splitlines()
    assert json.loads(left)["person_id"] == str(other)
    assert len(files_below(box.data_dir / "uploads")) == 3


def test_persons_who_look_the_same_are_erased_where_that_is_confirmed(box: Box) -> None:
    """One by one at the prompt, with name, faces and confidence; with `--yes` only those that are named."""
    first, third, second = visits(box, (1, 0, "door"), (1, 1, "gate"), (2, 0, "door"))  # by camera
    told = box.run("persons", "erase", str(first), input="y\nn\n").output
    assert f"Also erase person {second}, 1 face, seen" in told and "confidence 1.00?" in told
    assert f"kept: person {second}" in told and "not checked: backups" in told
    assert {one["id"] for one in box.json("persons", "list")} == {str(second), str(third)}
    (again,) = visits(box, (1, 2, "door"))
    erased = box.json("persons", "erase", str(again), "--yes")
    assert [one["person_id"] for one in erased["lookalikes_left"]] == [str(second)]
    (again,) = visits(box, (1, 3, "door"))
    erased = box.json("persons", "erase", str(again), "--yes", "--lookalike", str(second))
    assert (erased["lookalikes"], erased["lookalikes_left"]) == ([str(second)], [])
    assert [one["id"] for one in box.json("persons", "list")] == [str(third)]


def test_visits_are_listed_by_time_person_and_camera(box: Box) -> None:
    """The latest first; names in the table, ids as text in JSON; a wrong time says what is expected."""
    person, *_ = visits(box, (1, 0, "door"), (1, 1, "door"), (2, 0, "gate"))
    box.text("persons", "rename", str(person), "Anna")
    rows = box.json("visits")
    assert [one["start"] for one in rows] == sorted((one["start"] for one in rows), reverse=True)
    anna = [one for one in rows if one["person_name"] == "Anna"]
    assert [(one["cam_id"], one["person_id"], one["persons"]) for one in anna] == [
        ("door", str(person), [str(person)])
    ] * 2
    for words, expected in {
        ("--camera", "gate"): 1,
        ("--person", "anna"): 2,
        ("--person", str(person)): 2,
        ("--unknown",): 1,
        ("--since", rows[0]["start"]): 1,
        ("--until", rows[0]["start"]): 2,
        ("--since", "2999-01-01"): 0,
        ("--limit", "1"): 1,
    }.items():
        assert len(box.json("visits", *words)) == expected, words
    table = box.text("visits", "--person", "Anna")
    assert "Anna" in table and "door" in table
    assert "there is no person 'Bob'" in box.error("visits", "--person", "Bob")
    for wrong in ("yesterday", "25:00", "2026-13-01", "9" * 30):
        assert "--since: expected 2026-03-01" in box.error("visits", "--since", wrong)


def test_names_are_said_before_enrolment_and_doubts_after_it(box: Box, tmp_path: Path) -> None:
    """A folder of one person, one picture, junk, a stranger among the pictures, and a picture to move."""
    folder = tmp_path / "staff" / "Ann"
    folder.mkdir(parents=True)
    for name, person, size in (("1.jpg", 0, 200), ("2.jpg", 0, 160), ("3.jpg", 3, 200)):
        cv2.imwrite(str(folder / name), portrait(person, size))
    (folder / ".DS_Store").write_bytes(b"x")
    done = box.run("enroll", str(folder), "--gallery", "staff")
    assert done.stderr.splitlines()[0] == "enrolling Ann (3 pictures); left out: .DS_Store (1 file)"
    assert "3.jpg: unlike the other pictures in this folder (0." in done.stdout
    assert "2 enrolled, 0 already known, 1 in doubt, 0 refused" in done.stdout
    picture = tmp_path / "Bob_1.jpg"
    (folder / "3.jpg").rename(picture)
    done = box.run("enroll", str(picture), "--gallery", "staff")
    assert done.stderr.splitlines()[0] == "enrolling Bob (1 picture)"
    assert "1 enrolled" in done.stdout
    done = box.run("enroll", str(picture), "--gallery", "staff", "--name", "Cleo", "--move")
    assert "Bob_1.jpg: moved from Bob" in done.stdout
    report = box.json("enroll", str(folder), "--gallery", "staff")
    assert (report["known"], report["doubtful"], report["left_out"]) == (2, 0, {".DS_Store": 1})


def test_enrolling_a_folder_reports_and_fails_where_nothing_is_taken(box: Box, tmp_path: Path) -> None:
    """Taken, known and refused are counted, in text and as JSON; a folder of no use is an error."""
    people = tmp_path / "people"
    for number, name in enumerate(("Ann", "Bob")):
        (people / name).mkdir(parents=True)
        cv2.imwrite(str(people / name / "1.jpg"), portrait(number, 160))
    (people / "notes.txt").write_text("hello")
    assert models_dir().is_dir()
    report = box.json("enroll", str(people), "--gallery", "staff")
    assert (report["taken"], report["known"], report["refused"], report["persons"]) == (2, 0, 1, 2)
    text = box.text("enroll", str(people), "--gallery", "staff")
    assert "notes.txt: unreadable" in text
    assert "0 enrolled, 2 already known, 0 in doubt, 1 refused" in text
    assert [one["name"] for one in box.json("persons", "list")] == ["Ann", "Bob"]
    (tmp_path / "empty").mkdir()
    assert "no pictures" in box.error("enroll", str(tmp_path / "empty"), "--gallery", "staff")
    (tmp_path / "empty" / "a.txt").write_text("no")
    assert "none of the pictures" in box.error("enroll", str(tmp_path / "empty"), "--gallery", "staff")


def test_a_reader_who_has_seen_enough_ends_an_export_quietly(box: Box) -> None:
    """`facend export faces | head`: status 0 and no message about the pipe."""
    visits(box, (1, 0, "door"))
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as pipe:
        command = [FACEND, "export", "faces", "--settings", str(box.settings)]
        ended = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_export_streams_in_constant_memory(box: Box) -> None:
    """Thousands of faces come out once each, in order, without being held at once; another user's do not."""
    number = 6000

    async def fill(ctx: Context, user: User) -> None:
        stranger = await ctx.users.add({})
        made = [
            face(person_facen(n % 7), person_id=n % 7, timestamp=datetime.now(UTC)).document()
            for n in range(7)
        ]
        documents = [
            {**made[n % 7], "_id": 1000 + n, "owner": user["_id"], "gallery": [], "schema": 1}
            for n in range(number)
        ]
        documents.append({**made[0], "_id": 1, "owner": stranger["_id"], "gallery": [], "schema": 1})
        await ctx.database["faces"].insert_many(documents)

    box.store(fill)
    lines = box.text("export", "faces").splitlines()
    assert [json.loads(line)["id"] for line in lines] == [str(1000 + n) for n in range(number)]

    async def peak_of_export(limit: int) -> int:
        from daemon.cli.export import face_rows

        async with StoreArguments(box._arguments.settings, box._arguments.persons, box.data_dir).open(
            load_facens=False
        ) as ctx:
            user = await ctx.users.authenticate((box.data_dir / "token").read_text().strip())
            tracemalloc.start()
            try:
                seen = 0
                async for _ in face_rows(ctx, user):
                    seen += 1
                    if seen == limit:
                        break
                return tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

    assert asyncio.run(peak_of_export(number)) < 1.5 * asyncio.run(peak_of_export(1200))


def test_the_doctor_finds_and_mends(box: Box) -> None:
    """Exit status 1 while something is wrong, 0 when it is mended; it says what and how."""
    visits(box, (1, 0, "door"))
    for path in (box.data_dir / "uploads").rglob("*_photo.jpeg"):
        path.unlink()
    young = box.run("doctor", "--json")
    assert json.loads(young.stdout)["store"]["findings"] == []
    at_once = ("--grace-minutes", "0")
    found = box.run("doctor", *at_once)
    assert found.exit_code == 1
    assert "1 × missing picture" in found.output
    assert box.run("doctor", "--json", *at_once).exit_code == 1
    mended = box.run("doctor", "--repair", *at_once)
    assert (mended.exit_code, "1 repaired" in mended.output) == (0, True)
    report = box.json("doctor", *at_once)
    assert (report["wrong"], report["store"]["findings"]) == (False, [])
    states = {check["name"]: check["state"] for check in report["box"]}
    assert "disk" in states  # good or not depends on the machine that runs the tests
    checked = ("disk", "data folder", "models", "mongod", "spool", "port", "daemon", "cameras")
    assert states == {**dict.fromkeys(checked, "good"), "disk": states["disk"]}


def test_a_lock_of_enroll_that_is_no_file_is_named(box: Box, tmp_path: Path) -> None:
    """Before any model is loaded."""
    (tmp_path / "people").mkdir()
    cv2.imwrite(str(tmp_path / "people" / "a.jpg"), portrait(0, 200))
    (box.data_dir / "enroll.lock").mkdir(parents=True)
    assert "enroll.lock cannot be opened" in box.error(
        "enroll", str(tmp_path / "people"), "--gallery", "staff"
    )

"""Commands beside the running daemon: they share its MongoDB, and it sees at once what they did."""

import asyncio
import json
import threading
import urllib.error
import urllib.request
from pathlib import Path

import cv2
import pytest

from daemon.config.service_user import service_user
from pipeline.faces.facen import encode
from store import Context, StoreSettings
from store.facens.sync.snapshot import summary
from store.uploads.face_pictures import PICTURES
from tests.daemon_process import Daemon, daemon, facend, free_port, wait_for, write_settings
from tests.facens import SIZE, person_facen, stored
from tests.faces import portrait
from tests.plugins import written

SOON = 5.0
LOOKS = """
from daemon.plugins import BaseHandler

class Looks(BaseHandler):
    async def post(self):
        found = await self.ctx.faces.identify(self.user, "door", self.json(), 1, 0.9)
        return [one.face["_id"] for one in found]

def activate(app, ctx, options):
    app.add_handlers(".*", [("/looks", Looks)])
"""
CHANGED, SAME = 4711, 4712


def facens(process: Daemon) -> float:
    """How many the daemon's facen storage holds of enrolled people and cameras' visitors."""
    process.until("a look at the facens", lambda: "facend_facens" in process.get("/metrics")[1], SOON)
    return process.metrics().total("facend_facens", gallery_kind="person")


def asked(process: Daemon, path: str, **headers: str) -> int:
    """The status of asking for work on the store."""
    request = urllib.request.Request(f"{process.address}{path}", method="POST", headers=headers)  # noqa: S310 - ours
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)  # noqa: S310 - ours
    return int(refused.value.code)


async def add_anew(data_dir: Path) -> None:
    """A face of the caller's own id, and after the last snapshot another face with the same id."""
    elsewhere = dict.fromkeys(PICTURES, "https://pictures.example/1.jpeg")
    async with (
        Context.open(StoreSettings(), data_dir=data_dir, facen_size=SIZE, pack="opencv-zoo") as ctx,
        Context.open(StoreSettings(), data_dir=data_dir, load_facens=False) as other,
    ):
        user = await service_user(ctx, "", data_dir)
        for face_id in (CHANGED, SAME):
            await stored(ctx, user, person_facen(face_id), ["door"], _id=face_id, **elsewhere)
        await ctx.facens_lifecycle.save()
        assert await other.faces.remove_one(user, {"_id": CHANGED})
        await stored(other, user, person_facen(1), ["door"], _id=CHANGED, **elsewhere)


def sampled(process: Daemon, token: str, number: int) -> list[int]:
    """Who the daemon finds by the facen of this person."""
    request = urllib.request.Request(  # noqa: S310 - ours
        f"{process.address}/looks",
        json.dumps({"facen": encode(person_facen(number))}).encode(),
        {"Authorization": f"Token {token}"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - ours
        return list(json.load(answer))


def rebuild(process: Daemon, token: str, *this: str) -> None:
    """Puts right what the daemon searches, while it is searched; the next one has nothing to do."""
    assert (sampled(process, token, CHANGED), sampled(process, token, 1)) == ([CHANGED], [])
    ended, searches = threading.Event(), []

    def search() -> None:
        while not ended.is_set():
            searches.append(sampled(process, token, SAME))

    thread = threading.Thread(target=search)
    thread.start()
    try:
        done = facend("facens", "rebuild", *this)
    finally:
        ended.set()
        thread.join()
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("corrected: 1 face whose facen differed from MongoDB's\nverified: ")
    assert len(searches) > 1
    assert all(found == [SAME] for found in searches)
    assert (sampled(process, token, CHANGED), sampled(process, token, 1)) == ([], [CHANGED])
    done = facend("facens", "rebuild", "--json", *this)
    assert json.loads(done.stdout)["corrected"] == 0


@pytest.mark.timeout(600)
def test_people_are_enrolled_looked_up_checked_and_erased_while_the_daemon_runs(tmp_path: Path) -> None:
    """The daemon recognises enrolled people at once, forgets erased ones, and checks its own storage."""
    people = tmp_path / "people"
    for number, name in enumerate(("Ann", "Bob")):
        (people / name).mkdir(parents=True)
        cv2.imwrite(str(people / name / "1.jpg"), portrait(number, 160))
    plugins = {"dirs": [str(written(tmp_path / "plugins", {"looks": LOOKS}))]}
    settings = write_settings(tmp_path, [], http={"port": free_port()}, plugins=plugins)
    asyncio.run(add_anew(tmp_path / "data"))
    this = ("--settings", str(settings))
    with daemon(settings) as process:
        process.ready()
        assert set(process.status()["jobs"]) >= {"retention", "doctor", "facens"}
        done = facend("enroll", people, "--gallery", "staff", *this)
        assert done.returncode == 0, done.stderr
        assert "2 enrolled" in done.stdout
        wait_for("the enrolled people in the daemon's storage", lambda: facens(process) == 2, 2 * SOON)
        persons = json.loads(facend("persons", "list", "--json", *this).stdout)
        assert [one["name"] for one in persons] == ["Ann", "Bob"]
        done = facend("persons", "erase", str(persons[0]["id"]), "--yes", *this)
        assert done.returncode == 0, done.stderr
        wait_for("the erased person out of the daemon's storage", lambda: facens(process) == 1, 2 * SOON)
        next((tmp_path / "data" / "uploads").rglob("*_photo.jpeg")).unlink()
        found = facend("doctor", "--grace-minutes", "0", *this)
        assert (found.returncode, "1 × missing picture" in found.stdout) == (1, True), found.stdout
        assert facend("doctor", "--repair", "--force", "--grace-minutes", "0", *this).returncode == 0
        assert facend("doctor", "--grace-minutes", "0", *this).returncode == 0
        stranger = json.loads(facend("users", "add", "--json", *this).stdout)["token"]
        for path in ("/doctor", "/facens/rebuild"):
            assert asked(process, path) == 401
            assert asked(process, path, Authorization="Token guess") == 401
            assert asked(process, path, Authorization=f"Token {stranger}") == 401
        rebuild(process, (tmp_path / "data" / "token").read_text().strip(), *this)
        snapshot = tmp_path / "data" / "facens" / "local.facens"
        assert person_facen(1).tobytes() in snapshot.read_bytes()
        assert process.stop() == 0
    assert summary(snapshot).facens == 3 + 2  # one person in three galleries, two faces in one

"""Cameras change while the daemon runs: in the file, and in the collection by `facend cameras`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from cameras.clips.write import write_clip
from daemon.cli import main as cli
from daemon.cli.context import CommandContext
from daemon.cli.store import with_store
from daemon.config.settings_file import load
from daemon.errors import StartError
from tests.clips import moving_pictures
from tests.daemon_process import Daemon, daemon, free_port, write_settings

SOON = 15.0
PASSWORD = "s3cr3t"  # noqa: S105 - of a camera that is not there


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "hall.mp4"
    write_clip(path, moving_pictures(40, 160, 120), 10)
    return path


class Done(NamedTuple):
    """What came of a command."""

    well: bool
    out: str
    err: str


class Box:
    """A daemon, its settings, and the commands beside it."""

    def __init__(self, settings: Path, process: Daemon, clip: Path, port: int) -> None:
        self.settings, self.process, self.clip, self.port = settings, process, clip, port

    def write(self, *cameras: dict[str, Any]) -> None:
        given = {"http": {"port": self.port}, "detector": "this-box"}
        write_settings(self.settings.parent, list(cameras), **given)

    def camera(self, cam_id: str, **given: object) -> dict[str, Any]:
        return {"id": cam_id, "url": self.clip.as_uri(), "loop": True, **given}

    def cameras(self, *arguments: str, stdin: str = "") -> "Done":
        """`facend cameras …`; in this process, because starting one takes longer than the command."""
        command = ["cameras", *arguments, "--settings", str(self.settings)]
        result = CliRunner().invoke(cli.facend, command, input=stdin)
        failed = result.exception
        assert failed is None or isinstance(failed, (StartError, SystemExit)), result.exc_info
        return Done(failed is None, result.stdout, result.stderr + str(failed or ""))

    def ids(self) -> list[str]:
        return [camera["cam_id"] for camera in self.process.status()["cameras"]]

    def soon(self, what: str, *ids: str) -> None:
        self.process.until(what, lambda: self.ids() == list(ids), SOON)

    def documents(self) -> list[dict[str, Any]]:
        async def work(ctx, user):
            return [dict(camera) for camera in await ctx.cameras.find(user, None, sort="id")]

        return with_store(CommandContext(load(self.settings)), work)

    def write_document(self, filters: dict[str, Any], update: dict[str, Any]) -> None:
        """As another program might, which knows nothing of Facend's rules."""

        async def work(ctx, _user):
            await ctx.database["cameras"].update_one(filters, update)

        with_store(CommandContext(load(self.settings)), work)


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory, clip: Path) -> Iterator[Box]:
    """A daemon that reads the camera `hall` of its settings."""
    folder = tmp_path_factory.mktemp("box")
    port = free_port()
    camera = {"id": "hall", "url": clip.as_uri(), "loop": True}
    settings = write_settings(folder, [camera], http={"port": port}, detector="this-box")
    with daemon(settings) as process:
        process.ready()
        yield Box(settings, process, clip, port)
        assert process.stop() == 0


@pytest.fixture(autouse=True)
def hall_goes_on(box: Box) -> Iterator[None]:
    """A camera that is not changed keeps its thread and its counts while others change."""
    before = box.process.camera("hall")
    yield
    after = box.process.camera("hall")
    assert after["frames_decoded"] >= before["frames_decoded"]
    assert (after["since"], after["reconnects"]) == (before["since"], 0)


def test_a_changed_file_is_seen_without_a_signal(box: Box) -> None:
    """Cameras come, change and go; a wrong file changes nothing, and says why in log and status."""
    box.write(box.camera("hall"), box.camera("door"))
    box.soon("the camera of the changed file", "hall", "door")
    box.settings.write_text(box.settings.read_text().replace('id = "door"', 'id = "door"\nmax_fps = -1'))
    box.process.until("the refusal", lambda: box.process.status()["configuration"]["settings"], SOON)
    status = box.process.status()
    assert "max_fps = -1" in status["configuration"]["settings"]
    assert "changed cameras are refused" in status["summary"]
    assert box.process.log("the changed settings are refused and the old ones stay")
    assert box.ids() == ["hall", "door"]
    box.write(box.camera("hall"))
    box.soon("one camera less", "hall")
    assert box.process.status()["configuration"]["settings"] == ""


@pytest.mark.parametrize(
    ("fault", "said"),
    [("[[cameras]]\nid = 3\n", "cameras[2].id = 3: "), ("[[cameras\n", "not valid TOML")],
)
def test_a_broken_file_keeps_nobody_from_asking_the_daemon(box: Box, fault: str, said: str) -> None:
    """It runs on with what it has; the command says so, and what is wrong with the file."""
    sound = box.settings.read_text()
    box.settings.write_text(sound + fault)
    answers = [box.cameras(*arguments) for arguments in (("status", "--json"), ("--json",))]
    box.settings.write_text(sound)
    for told in answers:
        assert told.well
        assert [(row["id"], row["source"]) for row in json.loads(told.out)] == [("hall", "settings")]
        assert said in told.err
        assert f"{box.port} keeps its previous settings" in told.err


def test_cameras_of_the_collection_run_and_end(box: Box) -> None:
    """Added, changed, disabled and removed by the command, seen by the daemon within seconds."""
    url = box.clip.as_uri()
    assert box.cameras("add", "gate", url, "loop=true", "name=The gate").well
    box.soon("the added camera", "hall", "gate")
    assert box.process.camera("gate")["source"] == "collection"
    box.process.until("its frames", lambda: box.process.camera("gate")["state"] == "green", SOON)

    assert box.cameras("edit", "gate", "max_fps=5", "name=").well
    (document,) = box.documents()
    assert document["max_fps"] == 5 and "name" not in document and document["url"] == url
    assert box.cameras("disable", "gate").well
    box.process.until("grey", lambda: box.process.camera("gate").get("reason") == "disabled", SOON)

    assert box.cameras("add", "far", url, "detector=another-box").well
    listed = {row["id"]: row for row in json.loads(box.cameras("list", "--json").out)}
    assert {key: row["source"] for key, row in listed.items()} == {
        "hall": "settings",
        "gate": "collection",
        "far": "collection",
    }
    assert listed["gate"]["enabled"] is False and listed["far"]["detector"] == "another-box"
    shown = json.loads(box.cameras("status", "--json").out)
    assert [(row["id"], row["source"]) for row in shown] == [("hall", "settings"), ("gate", "collection")]
    assert [row["id"] for row in json.loads(box.cameras("--json").out)] == ["hall", "gate"]
    for cam_id in ("gate", "far"):
        assert box.cameras("remove", cam_id).well
    box.soon("the camera is gone", "hall")


def test_a_password_reaches_the_camera_and_no_document(box: Box) -> None:
    """It is kept on this box for the service only; a change takes effect; it is removed with the camera."""
    nobody = f"rtsp://viewer:{PASSWORD}@127.0.0.1:{free_port()}/live?token={PASSWORD}"
    added = box.cameras("add", "safe", nobody)
    assert added.well, added.err
    (document,) = box.documents()
    assert document["user"] == "viewer"
    kept = box.settings.parent / "data" / "secrets"
    assert (kept / "safe").read_text() == f"{PASSWORD}\n"
    assert (kept / "safe").stat().st_mode & 0o077 == kept.stat().st_mode & 0o077 == 0
    box.soon("the camera", "hall", "safe")
    assert box.process.camera("safe")["url"].startswith("rtsp://***@127.0.0.1:")

    before = box.process.camera("safe")["since"]
    assert box.cameras("edit", "safe", "--password-stdin", stdin="n3w\n").well
    assert (kept / "safe").read_text() == "n3w\n"
    box.process.until("a new start", lambda: box.process.camera("safe").get("since", before) != before, SOON)
    told = added.out + added.err + box.process.text() + repr(box.process.status())
    assert PASSWORD not in told + repr(box.documents()) + (kept.parent / "cameras.json").read_text()
    assert box.cameras("remove", "safe").well
    assert list(kept.iterdir()) == []
    box.soon("the camera is gone", "hall")


def test_a_faulty_camera_of_the_collection_stands_in_the_way_of_no_other(box: Box) -> None:
    """It stays as it was, status and log name it, changes of others take effect; then it heals."""
    assert box.cameras("add", "good", box.clip.as_uri(), "loop=true").well
    assert box.cameras("add", "bad", box.clip.as_uri(), "loop=true").well
    box.soon("both cameras", "hall", "bad", "good")
    both = ("good", "bad")
    for cam_id in both:
        box.process.until("green", lambda one=cam_id: box.process.camera(one).get("state") == "green", SOON)
    before = {cam_id: box.process.camera(cam_id)["since"] for cam_id in both}
    box.write_document({"id": "bad"}, {"$set": {"max_fps": "fast"}})
    box.write_document({"id": "good"}, {"$set": {"max_fps": 1}})
    box.process.until("the refusal", lambda: box.process.status()["configuration"]["collection"], SOON)
    reason = box.process.status()["configuration"]["collection"]
    assert "bad" in reason
    assert "max_fps" in reason
    box.process.until(
        "the other changes", lambda: box.process.camera("good").get("since") != before["good"], SOON
    )
    assert box.process.camera("bad")["since"] == before["bad"]
    assert any("bad" in repr(line) for line in box.process.log() if line["level"] == "error")
    box.write_document({"id": "bad"}, {"$set": {"max_fps": 5}})
    box.process.until("it heals", lambda: not box.process.status()["configuration"]["collection"], SOON)
    for cam_id in ("good", "bad"):
        box.cameras("remove", cam_id)
    box.soon("both are gone", "hall")


def test_the_file_decides_over_the_collection(box: Box) -> None:
    """A camera in both is read as settings.toml says; the log says so once."""
    added = box.cameras("add", "hall", "/nowhere.mp4")
    assert added.well and "settings.toml also defines camera hall, and takes precedence" in added.err
    line = box.process.logged("a camera is in settings.toml and in the collection: the file decides", SOON)
    assert line["camera"] == "hall"
    assert box.process.camera("hall")["source"] == "settings"
    listed = json.loads(box.cameras("list", "--json").out)
    assert [row.get("overruled") for row in listed] == [None, True]
    assert box.cameras("remove", "hall").well


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("add", "x y", "rtsp://h/live"), "camera x y: id = "),
        (("add", "x", "ftp://h/live"), "the scheme ftp: is not supported"),
        (("add", "x", "rtsp://h/live", "max_fsp=3"), "max_fsp: unknown key; did you mean max_fps?"),
        (("add", "x", "rtsp://h/live", "max_fps"), "expected KEY=VALUE"),
        (("edit", "hall", "max_fps=3"), "camera hall is defined in settings.toml: change it there"),
        (("edit", "nobody", "max_fps=3"), "there is no camera nobody"),
        (("remove", "nobody"), "there is no camera nobody"),
    ],
)
def test_a_wrong_command_changes_nothing(box: Box, arguments: tuple[str, ...], message: str) -> None:
    """It ends with a line that says what is wrong."""
    done = box.cameras(*arguments)
    assert not done.well
    assert message in done.err


def test_a_restart_without_mongodb_knows_its_cameras(clip: Path, tmp_path: Path) -> None:
    """The collection's cameras of the last run are read from the copy in the data folder."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "cameras.json").write_text(json.dumps([{"id": "gate", "url": clip.as_uri(), "loop": True}]))
    store = {"url": f"mongodb://127.0.0.1:{free_port()}", "connect_timeout_seconds": 0.5}
    with daemon(write_settings(tmp_path, [], store=store)) as process:
        process.running()
        process.until("frames", lambda: process.camera("gate").get("state") == "green", SOON)
        assert process.stop() == 0

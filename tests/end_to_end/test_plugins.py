"""Plugins in the daemon as a process: at work, failing, and through kills."""

import json
import random
import signal
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

from tests.daemon_process import Daemon, busy_camera, daemon, write_settings
from tests.end_to_end.stored import assert_each_stored_once, assert_persons_agree, documents
from tests.plugins import written

KILLS = 4
SEED = 7
SETTLE_SECONDS = 60.0
TIMEOUT_SECONDS = 4
"""One plugin hangs. The others are quick, but perhaps not within a second while other tests run."""

NOTES = """
import secrets
from daemon.plugins import BaseHandler, Refuse

LIFE = secrets.token_hex(4)

class Count(BaseHandler):
    async def get(self):
        return {"faces": await self.ctx.faces.count(self.user, {})}

def activate(app, ctx, options):
    def before(sighting, face):
        if options["refuse"]:
            raise Refuse("nobody today")
        return {"life": LIFE}

    def after(stored):
        with open(options["told"], "a") as file:
            file.write(f"{stored.face_id}\\n")

    app.add_handlers(".*", [("/count", Count)])
    app.add_sighting_hook(before=before, after=after)
"""
HANGS = """
import time
async def activate(app, ctx, options):
    time.sleep(600)
"""
NEVER = """
import time
async def activate(app, ctx, options):
    while True:
        try:
            time.sleep(600)
        except BaseException:
            pass
"""
CLINGS = """
import asyncio, sys, time
tasks = []

async def cling():
    while True:
        try:
            await asyncio.sleep(1e6)
        except BaseException:
            pass

async def activate(app, ctx, options):
    tasks.append(asyncio.create_task(cling()))
    tasks.extend(asyncio.create_task(asyncio.to_thread(time.sleep, 600)) for _ in range(40))
    asyncio.get_running_loop().call_soon(sys.exit, 5)
"""


def settings_with(folder: Path, cameras: list[dict[str, Any]], *, refuse: bool = False) -> Path:
    plugins = written(
        folder / "plugins", {"notes": NOTES, "hangs": HANGS, "broken": "1 / 0", "clings": CLINGS}
    )
    section = {"dirs": [str(plugins)], "timeout_seconds": TIMEOUT_SECONDS}
    path = write_settings(folder, cameras, plugins=section)
    options = {"told": str(folder / "told"), "refuse": refuse}
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in options.items())
    path.write_text(f"{path.read_text()}\n[plugins.options.notes]\n{lines}")
    return path


def states(process: Daemon) -> dict[str, str]:
    return {plugin["name"]: plugin["state"] for plugin in process.status()["plugins"]}


def test_kills_double_no_effect_of_a_plugin(short_clip: Path, tmp_path: Path) -> None:
    """Repeated kill -9: each face is annotated by one run, and no face is notified twice."""
    moments = random.Random(SEED)  # noqa: S311 - repeatable, no secret
    settings = settings_with(tmp_path, [busy_camera("hall", short_clip)])
    accepted: list[str] = []
    for number in range(KILLS):
        with daemon(settings, f"life-{number}") as process:
            process.running()
            process.until("the plugins", lambda: states(process).get("notes") == "active", SETTLE_SECONDS)
            time.sleep(moments.uniform(0.2, 1.5))  # the random moment
            assert process.kill() == -signal.SIGKILL
        accepted += [entry["sighting"] for entry in process.log("sighting accepted")]
    settings_with(tmp_path, [])
    with daemon(settings, "last-life") as process:
        process.ready()
        process.empties_its_spool(SETTLE_SECONDS)
        faces, persons = (documents(tmp_path / "data", name) for name in ("faces", "persons"))
        assert states(process) == {
            "broken": "failed",
            "clings": "active",
            "hangs": "failed",
            "notes": "active",
        }
        assert asked(process, tmp_path) == {"faces": len(faces)}
        assert process.stop() == 0
    assert_each_stored_once(accepted, faces)
    assert_persons_agree(faces, persons)
    assert all(len(face["annotations"]["notes"]["life"]) == 8 for face in faces)
    assert len({face["annotations"]["notes"]["life"] for face in faces}) > 1
    told = Counter((tmp_path / "told").read_text().split())
    assert set(told.values()) == {1}, "a face was told of twice"
    assert told.keys() <= {str(face["_id"]) for face in faces}
    assert len(told) >= len(faces) - (KILLS + 1), "a kill may lose what was in work, no more"


def asked(process: Daemon, folder: Path) -> Any:
    token = (folder / "data" / "token").read_text().strip()
    request = urllib.request.Request(  # noqa: S310 - our own http
        f"{process.address}/count", headers={"Authorization": f"Token {token}"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - our own http
        return json.load(answer)


def test_refused_sightings_are_counted_and_nothing_is_stored(short_clip: Path, tmp_path: Path) -> None:
    """Metrics and /status count them, the log names the reason, the store stays empty.

    Beside a plugin that exits in the background, and that neither its tasks nor its threads let go of.
    """
    settings = settings_with(tmp_path, [busy_camera("hall", short_clip)], refuse=True)
    with daemon(settings) as process:
        process.ready()
        process.until(
            "refused sightings",
            lambda: process.metrics().total("facend_sightings_total", outcome="refused") >= 3,
            SETTLE_SECONDS,
        )
        clings, notes = (
            plugin for plugin in process.status()["plugins"] if plugin["name"] in ("clings", "notes")
        )
        assert notes["refused"]["nobody today"] >= 3
        assert process.log("a plugin refuses a sighting")[0]["plugin"] == "notes"
        assert clings["error"] == "background: SystemExit: 5"
        assert documents(tmp_path / "data", "faces") == documents(tmp_path / "data", "persons") == []
        assert process.stored() == 0
        assert process.stop() == 0


def test_a_plugin_that_never_lets_go_of_the_loop_does_not_keep_the_daemon(tmp_path: Path) -> None:
    """Not even an exception ends its call: SIGTERM ends the process in time, with status 0, and the log shows
    where it was."""
    plugins = written(tmp_path / "plugins", {"never": NEVER})
    with daemon(write_settings(tmp_path, [], plugins={"dirs": [str(plugins)]})) as process:
        process.logged("a plugin blocks the event loop and is interrupted", SETTLE_SECONDS)
        assert process.stop(9) == 0
        assert "never.py" in process.text()

"""Servers, files and requests of a running daemon that can be frozen, alone or several at once."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from store.mongod.program import find_mongod
from tests.daemon_process import Daemon, busy_camera, daemon, free_port, mongods, write_settings
from tests.milvus import milvus_server
from tests.nginx import PASSWORD, USER, upload_server
from tests.rtsp import rtsp_server

PLUGIN = """
import asyncio, os, time
from daemon.plugins import BaseHandler

async def cling(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            pass

class Slow(BaseHandler):
    async def get(self):
        await cling(600)

class Blocks(BaseHandler):
    async def get(self):
        time.sleep(600)

class Takes(BaseHandler):
    async def post(self):
        return {}

async def activate(app, ctx, options):
    app.add_handlers(".*", [("/slow", Slow), ("/blocks", Blocks), ("/takes", Takes)])

    async def hook(*_):
        if os.path.exists(options["hook"]):
            await cling(600)

    app.add_sighting_hook(before=hook, after=hook)
"""
SLOW_DISK = """
import os, time
fsync = os.fsync
def slow(descriptor):
    if os.path.exists({flag!r}):
        time.sleep(600)
    fsync(descriptor)
os.fsync = slow
"""


WORK_SECONDS = 180.0
"""Generous, because the machine may be busy."""


@dataclass
class Scene:
    """A daemon with the parts that can be frozen. Each part adds to the settings and to `freezing`."""

    folder: Path
    stack: ExitStack
    cameras: list[dict[str, Any]]
    sections: dict[str, dict[str, Any]] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    freezing: list[Callable[[Daemon], object]] = field(default_factory=list)
    starts: bool = False
    """Whether the daemon is stopped while it still waits for its store."""

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def flag(self, name: str) -> Path:
        return self.folder / f"{name}.flag"

    def write(self) -> Path:
        """Writes the settings."""
        plugins = {"dirs": [str(self.folder / "plugins")]}
        path = write_settings(self.folder, self.cameras, plugins=plugins, **self.sections)
        options = f"[plugins.options.frozen]\nhook = {json.dumps(str(self.flag('hook')))}\n"
        path.write_text(f"{path.read_text()}\n{options}")
        return path

    def request(self, process: Daemon, what: str, rest: bytes = b"\r\n") -> None:
        """Sends a request with the owner's token, or its beginning, and does not wait for the answer."""
        token = (self.data / "token").read_text().strip()
        host, port = process.address.removeprefix("http://").split(":")
        connection = self.stack.enter_context(socket.create_connection((host, int(port)), 10))
        head = f"{what} HTTP/1.1\r\nHost: box\r\nAuthorization: Token {token}\r\n"
        connection.sendall(head.encode() + rest)


def private_mongod(scene: Scene) -> None:
    def freeze(process: Daemon) -> None:
        for pid in mongods(scene.data):
            os.kill(pid, signal.SIGSTOP)

    scene.freezing.append(freeze)


def _external(scene: Scene) -> "subprocess.Popen[bytes]":
    port, folder = free_port(), scene.folder / "mongod"
    folder.mkdir()
    scene.sections["store"] = {"url": f"mongodb://127.0.0.1:{port}/"}
    server = subprocess.Popen(
        [
            *(find_mongod(), "--dbpath", folder, "--port", str(port), "--bind_ip", "127.0.0.1"),
            *("--quiet", "--nounixsocket"),
        ],
        stdout=subprocess.DEVNULL,
    )
    scene.stack.callback(server.wait)
    scene.stack.callback(server.kill)
    return server


def external_mongod(scene: Scene) -> None:
    server = _external(scene)
    scene.freezing.append(lambda _: server.send_signal(signal.SIGSTOP))


def store_at_start(scene: Scene) -> None:
    """MongoDB accepts connections and never answers, from the beginning."""
    listener = scene.stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    scene.sections["store"] = {"url": f"mongodb://127.0.0.1:{listener.getsockname()[1]}/"}
    scene.starts = True


def camera(scene: Scene) -> None:
    clip = Path(url2pathname(urlsplit(scene.cameras[0]["url"]).path))
    names = ("left", "right")
    server = scene.stack.enter_context(rtsp_server(dict.fromkeys(names, clip)))
    scene.cameras += [{**busy_camera(name, clip), "url": server.url(name), "loop": False} for name in names]
    scene.stack.callback(server.thaw)
    scene.freezing.append(lambda _: server.freeze())


def slow_body(scene: Scene) -> None:
    scene.freezing.append(
        lambda process: scene.request(process, "POST /takes", b"Content-Length: 9\r\n\r\nhalf")
    )


def slow_handler(scene: Scene) -> None:
    scene.freezing.append(lambda process: scene.request(process, "GET /slow"))


def blocked_loop(scene: Scene) -> None:
    scene.freezing.append(lambda process: scene.request(process, "GET /blocks"))


def running_doctor(scene: Scene) -> None:
    scene.freezing.append(lambda process: scene.request(process, "POST /doctor"))


def slow_hook(scene: Scene) -> None:
    scene.freezing.append(lambda _: scene.flag("hook").touch())


def slow_disk(scene: Scene) -> None:
    """fsync does not return; a snapshot of the facens is being written all the time."""
    (scene.folder / "site").mkdir()
    (scene.folder / "site" / "sitecustomize.py").write_text(SLOW_DISK.format(flag=str(scene.flag("disk"))))
    before = os.environ.get("PYTHONPATH", "")
    scene.environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(scene.folder / "site"), before)))
    scene.sections.setdefault("facens", {})["snapshot_minutes"] = 0.02
    scene.freezing.append(lambda _: scene.flag("disk").touch())


def uploads(scene: Scene) -> None:
    server = scene.stack.enter_context(upload_server(scene.folder))
    scene.sections["uploads"] = {"url": server.url, "user": USER, "password": PASSWORD}
    scene.freezing.append(lambda _: server.freeze())
    scene.stack.callback(server.thaw)


def milvus(scene: Scene) -> None:
    server = scene.stack.enter_context(milvus_server())
    scene.sections.setdefault("facens", {})["url"] = server.url
    scene.stack.callback(server.freeze, frozen=False)
    scene.freezing.append(lambda _: server.freeze(frozen=True))


def reload(scene: Scene) -> None:
    """The settings are reloaded shortly before, with one camera removed."""

    def hang_up(process: Daemon) -> None:
        scene.cameras.pop()
        scene.write()
        process.hang_up()

    scene.freezing.append(hang_up)


PARTS: dict[str, Callable[[Scene], None]] = {
    part.__name__: part
    for part in (
        private_mongod,
        external_mongod,
        store_at_start,
        camera,
        uploads,
        milvus,
        slow_disk,
        slow_hook,
        slow_handler,
        slow_body,
        running_doctor,
        reload,
        blocked_loop,
    )
}
"""In the order in which they freeze."""

APART = [{"private_mongod", "external_mongod", "store_at_start"}, {"store_at_start", "milvus"}]
"""Sets of parts that exclude each other."""
ONLY_AT_WORK = {"uploads", "milvus", "slow_hook", "slow_handler", "running_doctor", "blocked_loop"}
"""Parts that need an open store."""


def possible(names: Sequence[str]) -> bool:
    """Whether these parts can be combined."""
    if "store_at_start" in names and ONLY_AT_WORK.intersection(names):
        return False
    return all(len(apart.intersection(names)) < 2 for apart in APART)


@dataclass(frozen=True, slots=True)
class End:
    """How the daemon ended."""

    seconds: float
    status: int | None
    """None if it had to be killed."""
    accepted: int
    lost: int
    """Accepted sightings that are neither in the spool nor stored."""
    mongods_left: int
    complaints: list[str]
    """Warnings and errors that it logged after the signal."""


def stopped(names: Sequence[str], clip: Path, folder: Path, patience_seconds: float = 20.0) -> End:
    """Runs a daemon with these parts, freezes them all, sends SIGTERM, and returns how the daemon ended."""
    with ExitStack() as stack:
        scene = Scene(folder, stack, [busy_camera("hall", clip), busy_camera("door", clip)])
        for name, part in PARTS.items():
            if name in names:
                part(scene)
        (folder / "plugins").mkdir()
        (folder / "plugins" / "frozen.py").write_text(PLUGIN)
        process = stack.enter_context(daemon(scene.write(), **scene.environment))
        if scene.starts:
            process.running(WORK_SECONDS)
            process.logged("sighting accepted", WORK_SECONDS)
        else:
            process.ready(WORK_SECONDS)
            process.until("stored sightings", lambda: process.stored() >= 2, WORK_SECONDS)
        for freeze in scene.freezing:
            freeze(process)
        time.sleep(0.5)
        before = len(process.log())
        began = time.monotonic()
        status: int | None
        try:
            status = process.stop(patience_seconds)
        except AssertionError:
            status = None
        seconds = time.monotonic() - began
        left = mongods(scene.data)
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        entries = process.log()
        accepted = {entry["sighting"] for entry in entries if entry["event"] == "sighting accepted"}
        stored = sum(entry["event"] == "visit" for entry in entries)
        waiting = {path.stem for path in (scene.data / "spool").glob("**/*.sighting")}
        complaints = [
            entry["event"] for entry in entries[before:] if entry.get("level") in ("warning", "error")
        ]
        lost = max(0, len(accepted - waiting) - stored)
        return End(seconds, status, len(accepted), lost, len(left), complaints)

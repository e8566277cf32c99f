"""Notifications of a real daemon to systemd, received on a socket of the test."""

import json
import os
import queue
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from cameras.clips.write import write_clip
from store.mongod.program import find_mongod
from tests.clips import moving_pictures
from tests.daemon_process import Daemon, daemon, free_port, write_settings

WATCHDOG_SECONDS = 6.0
WATCHDOG_SIGNAL = signal.SIGQUIT
"""As in systemd/facend.service."""

HANGING_ANALYSIS = """
import asyncio, threading
from pipeline.stages import CameraStages

def hangs_in_the_detector(self, frame):
    threading.Event().wait()

def activate(app, ctx, options):
    CameraStages.process = hangs_in_the_detector
"""

HANGING_CAMERA = """
import threading
from cameras.status import watchdog
from cameras.source.ffmpeg import FFmpegSource

def hangs_in_the_decoder(self, packets):
    threading.Event().wait()

def activate(app, ctx, options):
    watchdog.HUNG_SECONDS = 0.5
    FFmpegSource._next_packet = hangs_in_the_decoder
"""

HANGING_LOOP = """
import asyncio, ctypes

def hangs_in_the_loop():
    mutex, libc = ctypes.create_string_buffer(64), ctypes.CDLL(None)
    libc.pthread_mutex_lock(mutex)
    libc.pthread_mutex_lock(mutex)  # for ever: no signal breaks it off

async def activate(app, ctx, options):
    asyncio.get_running_loop().call_later(4, hangs_in_the_loop)
"""


class Message(NamedTuple):
    at: float
    """Monotonic seconds."""
    values: dict[str, str]


class ServiceManager:
    """Receives what a service tells systemd. `environment` is what systemd would give it."""

    def __init__(self) -> None:
        name = f"facend-test-{os.getpid()}-{id(self)}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + name)
        self._arrived: queue.Queue[Message] = queue.Queue()
        self._thread = threading.Thread(target=self._receive)
        self._thread.start()
        self.heard: list[Message] = []
        self.environment = {
            "NOTIFY_SOCKET": "@" + name,
            "WATCHDOG_USEC": str(int(WATCHDOG_SECONDS * 1e6)),
        }

    def _receive(self) -> None:
        while text := self._socket.recv(4096).decode():
            values = dict(line.split("=", 1) for line in text.splitlines())
            self._arrived.put(Message(time.monotonic(), values))

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.sendto(b"", "\0" + self.environment["NOTIFY_SOCKET"][1:])
        self._thread.join()
        self._socket.close()

    def waits_for(self, key: str, text: str = "", seconds: float = 60.0) -> Message:
        """The next message with this key, and this text in its value; what came before is in `heard`."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                message = self._arrived.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                said = [message.values for message in self.heard[-10:]]
                raise AssertionError(f"no {key}={text} within {seconds:g} s; heard last: {said}") from None
            self.heard.append(message)
            if key in message.values and text in message.values[key]:
                return message

    def hears_out(self) -> None:
        """Take what has arrived."""
        while not self._arrived.empty():
            self.heard.append(self._arrived.get())

    def said(self, key: str) -> list[Message]:
        return [message for message in self.heard if key in message.values]


@pytest.fixture
def systemd() -> Iterator[ServiceManager]:
    manager = ServiceManager()
    yield manager
    manager.close()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    write_clip(path, moving_pictures(50), 10)
    return path


@contextmanager
def mongod_on(port: int, folder: Path) -> Iterator[None]:
    folder.mkdir()
    command = [find_mongod(), "--dbpath", folder, "--port", str(port), "--bind_ip", "127.0.0.1", "--quiet"]
    with subprocess.Popen([*command, "--nounixsocket"], stdout=subprocess.DEVNULL) as server:
        try:
            yield
        finally:
            server.kill()


def settings_with(folder: Path, clip: Path, **given: object) -> Path:
    return write_settings(folder, [{"id": "hall", "url": clip.as_uri(), "loop": True}], **given)


def test_systemd_hears_how_it_starts_reloads_and_stops(systemd, clip, tmp_path):
    """Not ready while the store is away, whatever the cameras do; ready once it answers; told of a reload's
    begin and end, also of one that was refused; told of the stop. Alive all the time."""
    port = free_port()
    settings = settings_with(
        tmp_path,
        clip,
        store={
            "url": f"mongodb://127.0.0.1:{port}/",
            "connect_timeout_seconds": 1,
            "server_selection_timeout_seconds": 1,
        },
    )
    with daemon(settings, **systemd.environment) as process:
        waiting = systemd.waits_for("STATUS", f"127.0.0.1:{port}")
        assert waiting.values["STATUS"].startswith("cameras: 1 ")
        assert int(waiting.values["EXTEND_TIMEOUT_USEC"]) >= 10_000_000
        process.running()
        process.until("frames", lambda: process.camera("hall")["state"] == "green", 30)
        systemd.waits_for("STATUS", "cameras: 1 green; ")
        assert not systemd.said("READY")
        with mongod_on(port, tmp_path / "mongod"):
            ready = systemd.waits_for("READY")
            assert ready.values == {"READY": "1", "STATUS": "cameras: 1 green"}
            assert process.get("/readyz")[0] == 200
            reloads_and_says_so(systemd, process)
            settings.write_text(settings.read_text() + "\nunknown = 1\n")
            reloads_and_says_so(systemd, process)
            assert process.log("the changed settings are refused and the old ones stay")
            assert process.stop() == 0
    systemd.hears_out()
    assert systemd.said("STOPPING")[0].values["STOPPING"] == "1"
    last_words = systemd.heard[systemd.heard.index(systemd.said("STOPPING")[0]) + 1 :]
    assert not any("READY" in message.values for message in last_words)
    signs = [message.at for message in systemd.said("WATCHDOG")]
    longest = max(later - earlier for earlier, later in pairwise(signs))
    assert longest < WATCHDOG_SECONDS


def reloads_and_says_so(systemd: ServiceManager, process: Daemon) -> None:
    before = time.clock_gettime(time.CLOCK_MONOTONIC)
    process.hang_up()
    reloading = systemd.waits_for("RELOADING")
    assert before - 0.001 <= int(reloading.values["MONOTONIC_USEC"]) / 1e6 <= reloading.at
    systemd.waits_for("READY")
    assert process.alive


@pytest.mark.parametrize(
    ("plugin", "where"),
    [(HANGING_ANALYSIS, "hangs_in_the_detector"), (HANGING_LOOP, "hangs_in_the_loop")],
    ids=["analysis", "event loop"],
)
def test_what_hangs_gives_no_sign_of_life(systemd, clip, tmp_path, plugin, where):
    """An analysis, or an event loop, that does not go on stops the signs of life, so that systemd ends us;
    the signal that it sends for that leaves in crash.txt where each thread was, for the next run to log."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "saboteur.py").write_text(plugin)
    settings = settings_with(tmp_path, clip, plugins={"dirs": [str(tmp_path / "plugins")]})
    with daemon(settings, **systemd.environment) as process:
        systemd.waits_for("READY")
        systemd.waits_for("WATCHDOG")
        if plugin is HANGING_ANALYSIS:
            systemd.waits_for("STATUS", "the analysis has been busy with one frame")
            assert "the camera hall" in systemd.heard[-1].values["STATUS"]
            process.running()
            assert process.get("/healthz")[0] == 503
        time.sleep(2 * WATCHDOG_SECONDS)
        systemd.hears_out()
        silent = time.monotonic() - systemd.said("WATCHDOG")[-1].at
        assert silent > WATCHDOG_SECONDS
        os.kill(process.pid, WATCHDOG_SIGNAL)
        # Walking the stack of a thread that runs may crash in turn; the process ends all the same.
        assert process.ended(10) in (-WATCHDOG_SIGNAL, -signal.SIGSEGV)
    assert where in (tmp_path / "data" / "crash.txt").read_text()


def test_a_camera_whose_thread_hangs_is_noticed_and_named(systemd, clip, tmp_path):
    """Far beyond its timeouts: watchdog signals stop, the status names it, and the next run reports it."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "saboteur.py").write_text(HANGING_CAMERA)
    short = {"connect_timeout_seconds": 0.5, "read_timeout_seconds": 1, "reconnect_max_seconds": 0.5}
    camera = {"id": "hall", "url": clip.as_uri(), "loop": True, **short}
    settings = write_settings(tmp_path, [camera], plugins={"dirs": [str(tmp_path / "plugins")]})
    with daemon(settings, **systemd.environment) as process:
        systemd.waits_for("STATUS", "the thread of the camera hall has hung for")
        systemd.hears_out()
        signs = len(systemd.said("WATCHDOG"))
        process.running()
        assert process.get("/healthz")[0] == 503
        time.sleep(WATCHDOG_SECONDS / 2)
        systemd.hears_out()
        assert len(systemd.said("WATCHDOG")) == signs
    assert json.loads((tmp_path / "data" / "crashes.json").read_text())["hall"]["crashes"] == 1

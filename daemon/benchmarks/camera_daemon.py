"""The daemon as a process of its own that a benchmark watches: python -m daemon.benchmarks.camera_daemon FILE

It is the whole service on the settings in FILE (JSON in the shape of settings.toml). What it stores, and its
address, are JSON lines on stdout; a line on stdin asks for the processor time of its threads, whose names
nobody outside knows; the end of stdin ends it.
"""

import asyncio
import json
import os
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path

from daemon.app import Application
from daemon.benchmarks.camera_process import cpu_seconds
from daemon.config import file as settings_file
from daemon.config.settings import Settings
from daemon.runtime import logs
from daemon.runtime import loop as event_loop
from daemon.runtime.signals import leave
from daemon.runtime.systemd import Systemd
from daemon.service import ready
from pipeline.models.engine import Models
from store.spool.recording import StoredSighting

_speaking = threading.Lock()
"""`print` puts the end of a line behind it in a step of its own."""


def main() -> None:
    path = Path(sys.argv[1])
    logs.configure("console", "warning")
    settings = settings_file.validate(json.loads(path.read_text()), source=str(path))
    with ready(settings) as models:
        event_loop.run(_run(settings, models))
    leave(0)


async def _run(settings: Settings, models: Models) -> None:
    application = Application(settings, models, Systemd(), _stored)
    asking = threading.Thread(
        target=_answer, args=(application, asyncio.get_running_loop()), name="asking", daemon=True
    )
    starting = asyncio.create_task(_tell_address(application))
    asking.start()
    try:
        await application.run()
    finally:
        starting.cancel()


async def _tell_address(application: Application) -> None:
    await application.started.wait()
    _say(address=application.address, pid=os.getpid())


def _answer(application: Application, loop: asyncio.AbstractEventLoop) -> None:
    for _ in sys.stdin:
        _say(at=time.time(), cpu_seconds=_cpu_seconds())
    loop.call_soon_threadsafe(application.stop)


def _cpu_seconds() -> dict[str, float]:
    """User and system time by what a thread is for."""
    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    spent: dict[str, float] = defaultdict(float)
    for folder in Path("/proc/self/task").iterdir():
        try:
            spent[_part(names.get(int(folder.name), ""))] += cpu_seconds(folder)
        except OSError:  # a thread that has just ended
            continue
    return dict(spent)


def _part(thread: str) -> str:
    if thread.startswith("camera "):
        return "cameras"
    return "analysis" if thread == "analysis" else "store and the rest"


def _stored(stored: StoredSighting) -> None:
    _say(
        stored_at=time.time(),
        cam_id=stored.cam_id,
        captured_at=stored.captured_at.timestamp(),
        media_time=stored.media_time,
        person_id=stored.person_id,
    )


def _say(**values: object) -> None:
    with _speaking:
        print(json.dumps(values), flush=True)  # noqa: T201 - for the process that started this one


if __name__ == "__main__":
    main()

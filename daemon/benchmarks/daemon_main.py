"""The daemon in a subprocess of a benchmark: python -m daemon.benchmarks.daemon_main FILE

Runs the whole service on the settings in FILE (JSON in the shape of settings.toml). Prints its address and
every stored face as JSON lines on stdout. A line on stdin requests the CPU time of its threads, whose names
only the process itself knows; the end of stdin stops it.
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
from daemon.benchmarks.daemon_process import cpu_seconds
from daemon.config.settings import Settings
from daemon.config.validation import validate
from daemon.events.bus import EventBus
from daemon.events.types import SightingStored
from daemon.runtime import event_loop, logs
from daemon.runtime.signals import leave
from daemon.runtime.systemd import Systemd
from daemon.service import ready
from pipeline.models.loader import Models

_print_lock = threading.Lock()
"""`print` writes the newline separately, so concurrent lines would mix."""


def main() -> None:
    path = Path(sys.argv[1])
    logs.configure("console", "warning")
    settings = validate(json.loads(path.read_text()), source=str(path))
    with ready(settings) as models:
        event_loop.run(_run(settings, models))
    leave(0)


async def _run(settings: Settings, models: Models) -> None:
    application = Application(settings, models, Systemd(), _subscribe)
    asking = threading.Thread(
        target=_answer, args=(application, asyncio.get_running_loop()), name="asking", daemon=True
    )
    starting = asyncio.create_task(_print_address(application))
    asking.start()
    try:
        await application.run()
    finally:
        starting.cancel()


async def _print_address(application: Application) -> None:
    await application.started.wait()
    _print_json(address=application.address, pid=os.getpid())


def _answer(application: Application, loop: asyncio.AbstractEventLoop) -> None:
    for _ in sys.stdin:
        _print_json(at=time.time(), cpu_seconds=_cpu_seconds())
    loop.call_soon_threadsafe(application.stop)


def _cpu_seconds() -> dict[str, float]:
    """User and system time by purpose of the threads."""
    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    spent: dict[str, float] = defaultdict(float)
    for folder in Path("/proc/self/task").iterdir():
        try:
            spent[_part(names.get(int(folder.name), ""))] += cpu_seconds(folder)
        except OSError:  # the thread has just ended
            continue
    return dict(spent)


def _part(thread: str) -> str:
    if thread.startswith("camera "):
        return "cameras"
    return "analysis" if thread == "analysis" else "store and the rest"


def _subscribe(events: EventBus) -> None:
    events.handle("benchmark", [SightingStored], _stored)


def _stored(event: SightingStored) -> None:
    stored = event.stored
    _print_json(
        stored_at=time.time(),
        cam_id=stored.cam_id,
        captured_at=stored.captured_at.timestamp(),
        media_time=stored.media_time,
        person_id=stored.person_id,
    )


def _print_json(**values: object) -> None:
    with _print_lock:
        print(json.dumps(values), flush=True)  # noqa: T201 - for the process that started this one


if __name__ == "__main__":
    main()

"""Crash reports, which prevent one camera's stream from crashing the process repeatedly.

A crash inside FFmpeg ends the process, and systemd restarts it. Python's faulthandler writes the stack of the
crashed thread, which contains the camera's id (`cameras.source.crash_tag`). After two crashes, a camera is
not opened for an hour; the other cameras run.
"""

import faulthandler
import json
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, TypedDict

import structlog

from cameras.settings import CameraSettings
from pipeline.base.files import open_regular, read_json_object, read_regular, write_durably

log = structlog.get_logger(__name__)

CRASHES = 2
"""Crashes after which a camera is held back."""
HOLD_SECONDS = 3600.0
FORGET_SECONDS = 24 * 3600.0
MAX_UNIX_TIME = 1e11
"""The year 5138; later times are malformed."""
MAX_LOGGED_CHARACTERS = 30_000

FATAL = "Fatal Python error: "
CURRENT_THREAD = "Current thread "
CAMERA = re.compile(r" in camera (\S+) ([0-9a-f]{16})$", re.MULTILINE)
"""A frame that `CameraSettings.crash_tag` names."""


class _Blame(TypedDict):
    crashes: int
    at: float
    """Unix time of the last one."""
    settings: str
    """Fingerprint of the camera's settings at that time; changed settings clear the count."""


class CrashNotes:
    def __init__(self, data_dir: Path, now: Callable[[], float] = time.time) -> None:
        self._report = data_dir / "crash.txt"
        self._blames = data_dir / "crashes.json"
        self._now = now
        self._open: IO[bytes] | None = None
        self._damage_logged = False

    def begin(self) -> None:
        """Log the crash of the last run, if any, and prepare to record a crash of this run."""
        self._read_report()
        try:
            self._open = open_regular(self._report, "wb")
        except OSError as error:  # faulthandler still writes to stderr, the service's log
            log.warning("a crash of this run cannot be recorded", path=str(self._report), reason=str(error))
            return
        # Only the crashed thread: walking the stack of a running thread may itself crash, before the camera's
        # id is written.
        faulthandler.enable(file=self._open, all_threads=False)
        # SIGQUIT is the WatchdogSignal of the unit. For a hang, the stacks of all threads are worth that
        # risk. The signal then ends the process, even if the parent process ignored it.
        signal.signal(signal.SIGQUIT, signal.SIG_DFL)
        faulthandler.register(signal.SIGQUIT, file=self._open, all_threads=True, chain=True)

    def blame(self, camera: CameraSettings) -> None:
        """Count a crash for a camera whose hang is about to end the process."""
        self._count(camera.id, camera.fingerprint)

    def held_seconds(self, camera: CameraSettings) -> float:
        """Seconds for which the camera must not be opened; 0 without recent crashes."""
        blame = self._known().get(camera.id)
        if blame is None or blame["crashes"] < CRASHES or blame["settings"] != camera.fingerprint:
            return 0.0
        # At most HOLD_SECONDS, even if the clock was ahead at the time of the crash.
        return min(HOLD_SECONDS, max(0.0, blame["at"] + HOLD_SECONDS - self._now()))

    def _read_report(self) -> None:
        try:
            report = read_regular(self._report).decode(errors="replace")
        except FileNotFoundError:
            return
        except OSError as error:
            log.warning(
                "the crash report of the last run cannot be read", path=str(self._report), reason=str(error)
            )
            return
        if not report:
            return
        where = _current_thread_first(report)[:MAX_LOGGED_CHARACTERS]
        if not report.startswith(FATAL):  # written on SIGQUIT
            log.error("the last run hung", where=where)
            return
        camera = CAMERA.search(report)
        named = {"camera": camera[1]} if camera else {}
        log.error("the last run crashed", **named, where=where)
        if camera is not None:
            self._count(camera[1], camera[2])

    def _count(self, cam_id: str, fingerprint: str) -> None:
        known = self._known()
        before = known.get(cam_id)
        same = before is not None and before["settings"] == fingerprint
        recent = before is not None and self._now() - before["at"] < FORGET_SECONDS
        crashes = before["crashes"] + 1 if before is not None and same and recent else 1
        known[cam_id] = {"crashes": crashes, "at": self._now(), "settings": fingerprint}
        try:
            write_durably(self._blames, json.dumps(known).encode())
        except OSError as error:
            log.warning("a crash cannot be noted", camera=cam_id, reason=str(error))

    def _known(self) -> dict[str, _Blame]:
        """Notes by camera, without damaged ones."""
        try:
            noted = read_json_object(self._blames)
        except (OSError, ValueError) as error:
            self._damaged(str(error))
            return {}
        known = {cam_id: blame for cam_id, one in noted.items() if (blame := _blame(one)) is not None}
        if len(known) < len(noted):
            self._damaged("some notes are malformed")
        return known

    def _damaged(self, reason: str) -> None:
        if not self._damage_logged:
            log.warning("the notes of earlier crashes are damaged", path=str(self._blames), reason=reason)
        self._damage_logged = True


def _current_thread_first(report: str) -> str:
    """The report with the stack of the thread that received the signal in front.

    faulthandler writes the newest thread first, so the main thread, whose event loop feeds the watchdog,
    would be cut off in a process with many threads.
    """
    stacks = report.split("\n\n")
    return "\n\n".join(sorted(stacks, key=lambda stack: not stack.startswith((FATAL, CURRENT_THREAD))))


def _blame(noted: object) -> _Blame | None:
    """One camera's note; None if it is malformed."""
    if not isinstance(noted, dict):
        return None
    crashes, at, settings = noted.get("crashes"), noted.get("at"), noted.get("settings")
    if isinstance(crashes, bool) or not isinstance(crashes, int) or not isinstance(settings, str):
        return None
    if isinstance(at, bool) or not isinstance(at, (int, float)) or not 0 <= at <= MAX_UNIX_TIME:
        return None
    return {"crashes": crashes, "at": float(at), "settings": settings}

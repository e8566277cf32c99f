"""What a crash leaves behind, so that one camera's stream cannot end the process for ever.

A fault inside FFmpeg takes the whole process, and systemd starts it again. Python's faulthandler writes where
each thread was, and which of them it was that crashed. A camera in whose thread that happens twice is left
out for an hour, and the others run on.
"""

import faulthandler
import hashlib
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, TypedDict

import structlog

from cameras.settings import CameraSettings
from store.files import write_durably

log = structlog.get_logger(__name__)

CRASHES = 2
"""So many, and a camera is held back."""
HOLD_SECONDS = 3600.0
FORGET_SECONDS = 24 * 3600.0
SHOWN_CHARACTERS = 6000

CURRENT_THREAD = re.compile(r"^Current thread 0x([0-9a-f]+)", re.MULTILINE)


class _Blame(TypedDict):
    crashes: int
    at: float
    """Unix time of the last one."""
    settings: str
    """The camera's settings then; changed ones are a new chance."""


class CrashNotes:
    def __init__(self, data_dir: Path, now: Callable[[], float] = time.time) -> None:
        self._report = data_dir / "crash.txt"
        self._threads = data_dir / "camera-threads"
        self._blames = data_dir / "crashes.json"
        self._now = now
        self._open: IO[str] | None = None

    def begin(self) -> None:
        """Tell how the last run ended, if it crashed; from now on a crash of this one is written down."""
        self._learn()
        self._threads.write_text("")
        self._open = self._report.open("w")
        faulthandler.enable(file=self._open)

    def runs(self, camera: CameraSettings, thread: int) -> None:
        """The camera's thread, as Python identifies it."""
        try:
            with self._threads.open("a") as lines:
                lines.write(f"{thread:x} {camera.id} {_mark(camera)}\n")
        except OSError as error:  # a full disk; only a crash of this very camera would go unblamed
            log.warning("a camera's thread cannot be noted", camera=camera.id, reason=str(error))

    def blame(self, camera: CameraSettings) -> None:
        """This camera is about to be the reason that the process is ended."""
        self._count(camera.id, _mark(camera))

    def held_seconds(self, camera: CameraSettings) -> float:
        """For how long the camera must not be opened; 0 for most."""
        blame = self._known().get(camera.id)
        if blame is None or blame["crashes"] < CRASHES or blame["settings"] != _mark(camera):
            return 0.0
        return max(0.0, blame["at"] + HOLD_SECONDS - self._now())

    def _learn(self) -> None:
        try:
            report = self._report.read_text(errors="replace")
            threads = [line.split() for line in self._threads.read_text().splitlines()]
        except FileNotFoundError:
            return
        if not report:
            return
        crashed = CURRENT_THREAD.search(report)
        # A thread's number is used again, so the last one counts.
        cameras = {int(number, 16): (cam_id, mark) for number, cam_id, mark in threads}
        camera = cameras.get(int(crashed[1], 16)) if crashed else None
        named = {"camera": camera[0]} if camera else {}
        log.error("the last run crashed", **named, where=report[:SHOWN_CHARACTERS])
        if camera is not None:
            self._count(*camera)

    def _count(self, cam_id: str, mark: str) -> None:
        known = self._known()
        before = known.get(cam_id)
        same = before is not None and before["settings"] == mark
        recent = before is not None and self._now() - before["at"] < FORGET_SECONDS
        crashes = before["crashes"] + 1 if before is not None and same and recent else 1
        known[cam_id] = {"crashes": crashes, "at": self._now(), "settings": mark}
        try:
            write_durably(self._blames, json.dumps(known).encode())
        except OSError as error:
            log.warning("a crash cannot be noted", camera=cam_id, reason=str(error))

    def _known(self) -> dict[str, _Blame]:
        try:
            known: dict[str, _Blame] = json.loads(self._blames.read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return known


def _mark(camera: CameraSettings) -> str:
    """Changes with the camera's settings; its secrets are masked in them."""
    return hashlib.sha256(repr(camera).encode()).hexdigest()[:16]

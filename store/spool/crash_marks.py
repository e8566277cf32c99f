"""Counts how often storing a sighting crashed the process. Survives restarts.

A programming error ends the process. Without a mark, the next run would try the same sighting first and crash
again.
"""

import contextlib
import json
from pathlib import Path

import structlog

from pipeline.base.files import read_json_object, write_durably

log = structlog.get_logger()

NAME = "crash-marks.json"
FORMER_NAME = "crashes.json"
NAMES = (NAME, FORMER_NAME)


class CrashMarks:
    """A small file in the spool folder. A damaged file counts as empty."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        with contextlib.suppress(OSError):  # usually there is no such file
            (folder / FORMER_NAME).rename(self._path)
        self._counts = self._read()

    def ids(self) -> set[str]:
        return set(self._counts)

    def count(self, sighting_id: str) -> int:
        return self._counts.get(sighting_id, 0)

    def add(self, sighting_id: str) -> None:
        self._counts[sighting_id] = self.count(sighting_id) + 1
        self._write()

    def remove(self, sighting_id: str) -> None:
        if self._counts.pop(sighting_id, None) is not None:
            self._write()

    def _read(self) -> dict[str, int]:
        try:
            found = read_json_object(self._path)
        except (OSError, ValueError) as error:
            log.warning("crash marks cannot be read", path=str(self._path), reason=str(error))
            return {}
        return {key: count for key, count in found.items() if type(count) is int and count > 0}

    def _write(self) -> None:
        try:
            if self._counts:
                write_durably(self._path, json.dumps(self._counts).encode())
            else:
                self._path.unlink(missing_ok=True)
        except OSError as error:  # only the mark is lost
            log.warning("crash marks cannot be written", path=str(self._path), reason=str(error))

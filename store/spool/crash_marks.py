"""Which sightings ended the process while they were being stored, and how often; kept over restarts.

A programming error ends the process. Without a mark the next run would try the same sighting first, and end
again.
"""

import json
from pathlib import Path

import structlog

from pipeline.base.files import write_durably

log = structlog.get_logger()

NAME = "crashes.json"


class CrashMarks:
    """A small file beside the sightings. A damaged one is as good as none."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
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
            found = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            log.warning("the list of sightings that ended the process cannot be read", reason=str(error))
            return {}
        if not isinstance(found, dict):
            return {}
        return {key: count for key, count in found.items() if type(count) is int and count > 0}

    def _write(self) -> None:
        try:
            if self._counts:
                write_durably(self._path, json.dumps(self._counts).encode())
            else:
                self._path.unlink(missing_ok=True)
        except OSError as error:  # the mark is lost; what called for it goes on
            log.warning("the list of sightings that ended the process cannot be written", reason=str(error))

"""Dead letters: sightings that can never be stored, each with its reason in a second file.

They are kept for an operator; nothing reads them back. The folder is bounded, so that a flood of unusable
sightings cannot fill the disk.
"""

import contextlib
import hashlib
import os
import time
from pathlib import Path

import structlog

from pipeline.base.files import make_folder, sync_folder, write_durably

log = structlog.get_logger()

REASON_SUFFIX = ".reason"
_MAX_NAME_BYTES = 200
"""In bytes. With the suffixes of the reason and of a temporary file it stays below 255, a common limit."""


class DeadLetters:
    """A bounded folder of unusable files. Methods raise OSError if the folder cannot be used."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder
        self._max_bytes = max_bytes

    def prepare(self) -> None:
        make_folder(self.folder)

    def add(self, path: Path, reason: str) -> None:
        """Move the file to the folder. The reason is written first, so that no dead letter lacks one."""
        self.prepare()  # the folder may have been removed
        target = self.folder / _short(path.name)
        write_durably(target.with_name(f"{target.name}{REASON_SUFFIX}"), f"{reason}\n".encode())
        with contextlib.suppress(FileNotFoundError):  # the file is gone; only the reason remains
            path.replace(target)
        sync_folder(self.folder)
        sync_folder(path.parent)
        log.warning(
            "moved a sighting that can never be stored to the dead letters", path=str(target), reason=reason
        )
        self._trim()

    def remove_older_than(self, seconds: float) -> int:
        """Remove letters that have been here for longer than this; returns their number."""
        cutoff = time.time() - seconds
        removed = 0
        for moved_at, _, path in self._letters():
            if moved_at < cutoff:
                self._remove(path)
                removed += 1
        return removed

    def _letters(self) -> list[tuple[float, int, Path]]:
        """Time of the move, bytes and path of each letter, the oldest first."""
        letters = []
        for note in self.folder.glob(f"*{REASON_SUFFIX}"):
            path = note.with_name(note.name.removesuffix(REASON_SUFFIX))
            with contextlib.suppress(FileNotFoundError):
                size = path.stat().st_size if path.exists() else 0
                letters.append((note.stat().st_mtime, size, path))
        return sorted(letters)

    def _trim(self) -> None:
        letters = self._letters()
        excess = sum(size for _, size, _ in letters) - self._max_bytes
        for _, size, path in letters:
            if excess <= 0:
                return
            self._remove(path)
            excess -= size
            log.warning("removed the oldest dead letter because their folder is full", path=str(path))

    def _remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        path.with_name(f"{path.name}{REASON_SUFFIX}").unlink(missing_ok=True)


def _short(name: str) -> str:
    """The name; a long one is shortened to its beginning and a digest."""
    encoded = os.fsencode(name)
    if len(encoded) <= _MAX_NAME_BYTES:
        return name
    return f"{encoded[:100].decode(errors='ignore')}-{hashlib.sha256(encoded).hexdigest()[:32]}"

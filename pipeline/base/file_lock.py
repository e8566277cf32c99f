"""An exclusive lock between processes."""

import fcntl
from pathlib import Path
from typing import IO

from pipeline.base.files import open_regular


class FileLock:
    """An exclusive file lock. The kernel releases it when the process that holds it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None

    def acquire(self) -> bool:
        """Try to acquire the lock; returns whether that succeeded."""
        file = open_regular(self._path, "ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        self._file = file
        return True

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

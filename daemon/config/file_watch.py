"""Detects changes of a file by polling."""

from pathlib import Path

Fingerprint = tuple[int, int, int] | None


class FileWatch:
    """Reports a change when the file is unchanged between two polls, because editors write in several
    steps."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reported = self._latest = self._fingerprint()

    def changed(self) -> bool:
        """Whether the file differs from the last reported content, and is unchanged since the last call."""
        before, self._latest = self._latest, self._fingerprint()
        if self._latest is None or self._latest != before or self._latest == self._reported:
            return False
        self._reported = self._latest
        return True

    def mark_read(self) -> None:
        """Do not report the current content, which has just been read."""
        self._reported = self._latest = self._fingerprint()

    def _fingerprint(self) -> Fingerprint:
        """Modification time, size and inode; None for a missing or empty file.

        A missing file is about to be replaced; an empty one is being written, or the disk is full.
        """
        try:
            stat = self._path.stat()
        except OSError:
            return None
        if not stat.st_size:
            return None
        return stat.st_mtime_ns, stat.st_size, stat.st_ino

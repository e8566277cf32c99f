"""Seeing that a file was changed."""

from pathlib import Path

Mark = tuple[int, int, int] | None


class FileWatch:
    """Looks at the file whenever it is asked. A change counts once it rests: editors write in steps."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._taken = self._seen = self._mark()

    def changed(self) -> bool:
        """Whether it has changed since the last time that this said so, and rests since the last look."""
        before, self._seen = self._seen, self._mark()
        if self._seen is None or self._seen != before or self._seen == self._taken:
            return False
        self._taken = self._seen
        return True

    def taken(self) -> None:
        """Somebody has just read it."""
        self._taken = self._seen = self._mark()

    def _mark(self) -> Mark:
        """None where there is no file: somebody is about to put a new one in its place. An empty one is as
        good as none: what should stand in it is on its way, or found no room on the disk."""
        try:
            stat = self._path.stat()
        except OSError:
            return None
        if not stat.st_size:
            return None
        return stat.st_mtime_ns, stat.st_size, stat.st_ino

"""The durable queue between the pipeline and the store: one file per sighting.

A sighting that `put` accepted survives a kill and a power cut, until `done` or `dead`.
File names sort by capture time. Unreadable files go to the folder `dead`, with the reason
in a text file.

The queue is bounded by `max_bytes`. Its eviction policy is a setting (`WhenFull`), applied in `index.py`.
Evicted sightings are counted; an overflow is logged when it begins, and with their number when it ends.
"""

import contextlib
import errno
import re
import secrets
import threading
import time
from collections.abc import Callable, Container
from datetime import UTC, datetime
from pathlib import Path

import structlog

from pipeline.base.files import is_temporary, make_folder, read_regular, write_durably
from pipeline.types import Sighting
from store.errors import MalformedSightingError
from store.errors import SpoolError as SpoolError
from store.observer import StoreObserver
from store.settings import WhenFull
from store.spool import codec as sighting_file
from store.spool import crash_marks
from store.spool.dead_letters import DeadLetters
from store.spool.index import SpoolIndex

log = structlog.get_logger()

SUFFIX = ".sighting"
DEAD_FOLDER = "dead"
_ID = re.compile(r"[0-9]{15}_[0-9a-f]{32}")
_NOT_FULL_SHARE = 0.9
"""Share of `max_bytes` below which a full spool no longer counts as full."""
_DEAD_SHARE = 0.25
"""Share of `max_bytes` that dead letters may take in addition."""
_LOST_ERRNOS = (errno.ENOENT, errno.EIO, errno.EISDIR, errno.EINVAL, errno.EFBIG)
"""Errors after which the file counts as lost."""


class Spool:
    """A folder of sightings that wait for the store. Thread-safe.

    `on_put` is called after each accepted sighting, on the calling thread.
    """

    def __init__(
        self,
        folder: Path,
        max_bytes: int,
        observer: StoreObserver,
        when_full: WhenFull = "drop_poorest",
    ) -> None:
        """Read the sightings of an earlier run. SpoolError if the folder cannot be used."""
        self.on_put: Callable[[], None] | None = None
        self.folder = folder
        self._index = SpoolIndex(max_bytes, when_full)
        self._dead = DeadLetters(folder / DEAD_FOLDER, int(max_bytes * _DEAD_SHARE))
        self._observer = observer
        self._lock = threading.Lock()
        self._dropped = 0
        self._fault: str | None = None
        try:
            make_folder(folder)
            self._dead.prepare()
            self._read_folder()
        except OSError as error:
            raise SpoolError(
                f"the spool folder {folder} cannot be used: {_reason(error)}; {_ADVICE}"
            ) from error

    @property
    def fault(self) -> str | None:
        """Why `put` fails at present, or None."""
        return self._fault

    @property
    def dropped(self) -> int:
        """Number of sightings evicted since the spool became full; 0 when it no longer is."""
        return self._dropped

    @property
    def bytes_waiting(self) -> int:
        return self._index.bytes_waiting

    def __len__(self) -> int:
        return len(self._index)

    def oldest_seconds(self) -> float:
        """Age of the oldest pending sighting; 0 if the spool is empty."""
        oldest = self.oldest()
        return 0.0 if oldest is None else max(0.0, time.time() - int(oldest[:15]) / 1000)

    def put(self, sighting: Sighting) -> str:
        """Write the sighting durably; returns its id.

        Raises:
            SpoolError: the disk is full, the folder cannot be written, or the sighting alone is larger than
            the
                spool. Nothing of the sighting is kept, and a later call may succeed.
        """
        content = sighting_file.encode(sighting)
        head = sighting_file.Head(sighting.cam_id, sighting.score, len(content))
        sighting_id = _new_id(sighting.captured_at)
        try:
            dropped = self._index.reserve(head.size)
        except SpoolError as error:
            self._set_fault(error)
            raise
        path = self._path(sighting_id)
        accepted = False
        try:
            self._discard(dropped)
            write_durably(path, content)
            accepted = True
        except OSError as error:
            with contextlib.suppress(OSError):  # the file may exist without being durable
                path.unlink(missing_ok=True)
            raise self._write_error(error) from error
        finally:
            self._index.settle(sighting_id, head, accepted)
        self._clear_fault()
        if (on_put := self.on_put) is not None:
            on_put()
        return sighting_id

    def pending(self) -> list[str]:
        """The ids in the spool, by capture time."""
        return self._index.ids()

    def oldest(self, excluded: Container[str] = ()) -> str | None:
        """The id with the oldest capture time that is not excluded, or None."""
        return self._index.oldest(excluded)

    def camera_of(self, sighting_id: str) -> str:
        """The cam_id of a pending sighting; empty for any other."""
        head = self._index.head(sighting_id)
        return head.cam_id if head else ""

    def get(self, sighting_id: str) -> Sighting:
        """Read a sighting, and protect it from eviction until `release`, `done` or `dead`.

        Raises:
            KeyError: it is not in the spool.
            MalformedSightingError: its file is damaged.
            SpoolError: it cannot be read at present.
        """
        self._index.hold(sighting_id)
        path = self._path(sighting_id)
        try:
            return sighting_file.decode(read_regular(path))
        except OSError as error:
            if error.errno in _LOST_ERRNOS:
                raise MalformedSightingError(f"its file cannot be read: {_reason(error)}") from error
            raise SpoolError(f"{path} cannot be read: {_reason(error)}; {_ADVICE}") from error

    def release(self, sighting_id: str) -> None:
        """Allow the eviction of a sighting that was read and stays in the spool."""
        self._index.release(sighting_id)

    def __contains__(self, sighting_id: str) -> bool:
        return self._index.head(sighting_id) is not None

    def done(self, sighting_id: str) -> None:
        """Remove a stored sighting. Idempotent.

        A power cut may restore the file; the recorder then recognises that the sighting is stored.
        """
        path = self._path(sighting_id)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise SpoolError(f"{path} cannot be removed: {_reason(error)}; {_ADVICE}") from error
        self._forget(sighting_id)

    def dead(self, sighting_id: str, reason: str) -> None:
        """Move a sighting that can never be stored to the dead letters."""
        path = self._path(sighting_id)
        try:
            self._dead.add(path, reason)
        except OSError as error:
            raise SpoolError(
                f"{path} cannot be moved to {self._dead.folder}: {_reason(error)}; {_ADVICE}"
            ) from error
        head = self._forget(sighting_id)
        self._observer.sighting(head.cam_id if head else "", "dead")

    def remove_dead(self, older_than_seconds: float) -> int:
        """Remove dead letters older than this; returns their number."""
        return self._dead.remove_older_than(older_than_seconds)

    def _read_folder(self) -> None:
        for path in sorted(self.folder.iterdir()):
            if path in (self._dead.folder, *(self.folder / name for name in crash_marks.NAMES)):
                continue
            if not path.is_file() or path.is_symlink():
                log.warning("the spool folder contains something other than a sighting", path=str(path))
            elif is_temporary(path):
                path.unlink(missing_ok=True)
            elif path.suffix != SUFFIX or not _ID.fullmatch(path.stem):
                self._refuse(path, "its name is not that of a sighting")
            else:
                try:
                    self._index.add(path.stem, sighting_file.read_head(path))
                except MalformedSightingError as error:
                    self._refuse(path, str(error))
        if self._index:
            log.info("the spool contains sightings of an earlier run", count=len(self._index))

    def _refuse(self, path: Path, reason: str) -> None:
        self._dead.add(path, reason)
        self._observer.sighting("", "dead")

    def _discard(self, dropped: dict[str, sighting_file.Head]) -> None:
        for sighting_id, head in dropped.items():
            self._observer.sighting(head.cam_id, "dropped")
            with self._lock:
                is_first, self._dropped = self._dropped == 0, self._dropped + 1
            if is_first:
                log.warning(
                    "the spool is full and drops poor and old sightings", max_bytes=self._index.max_bytes
                )
            self._path(sighting_id).unlink(missing_ok=True)

    def _write_error(self, error: OSError) -> SpoolError:
        if error.errno == errno.ENOENT:  # the folder was removed; the next call finds a new one
            with contextlib.suppress(OSError):
                self.folder.mkdir(mode=0o700)
        fault = SpoolError(f"the spool folder {self.folder} cannot be written: {_reason(error)}; {_ADVICE}")
        self._set_fault(fault)
        return fault

    def _set_fault(self, error: SpoolError) -> None:
        with self._lock:
            is_new, self._fault = self._fault is None, str(error)
        if is_new:
            log.error("the spool refuses sightings", folder=str(self.folder), reason=str(error))

    def _clear_fault(self) -> None:
        if self._fault:
            with self._lock:
                had_fault, self._fault = self._fault, None
            if had_fault:
                log.info("the spool accepts sightings again", folder=str(self.folder))

    def _path(self, sighting_id: str) -> Path:
        if not _ID.fullmatch(sighting_id):
            raise ValueError(f"{sighting_id!r:.80} is not the id of a sighting")
        return self.folder / f"{sighting_id}{SUFFIX}"

    def _forget(self, sighting_id: str) -> sighting_file.Head | None:
        head = self._index.remove(sighting_id)
        with self._lock:
            has_room = self._index.bytes_waiting < self._index.max_bytes * _NOT_FULL_SHARE
            relieved = self._dropped if has_room else 0
            self._dropped -= relieved
        if relieved:
            log.info("the spool is no longer full", dropped=relieved)
        return head


_ADVICE = "make room on the disk, or give the service's user the right to write there"


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


def _new_id(captured_at: datetime) -> str:
    milliseconds = max(0, int(captured_at.astimezone(UTC).timestamp() * 1000))
    return f"{milliseconds:015d}_{secrets.token_hex(16)}"

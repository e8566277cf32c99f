"""The durable queue between the pipeline and the store: one file a sighting.

What `put` has accepted survives a kill and a power cut, until `done` or `dead`. Files
lie in one folder, named so that they sort by capture time; what cannot be read goes to
the folder `dead` beside them, with its reason in a text file.

The queue is bounded by `max_bytes`. Who goes when it is full is a setting (`WhenFull`). Each is
counted; the log says when that begins, and how many it were when it ends.
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

from pipeline.base.files import is_temporary, make_folder, write_durably
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
_ROOM_AGAIN = 0.9
"""Below this part of `max_bytes` a full spool counts as relieved."""
_DEAD_PART = 0.25
"""How much of `max_bytes` the unusable ones may take beside the spool."""
_LOST = (errno.ENOENT, errno.EIO, errno.EISDIR)
"""Trying again does not bring such a file back."""


class Spool:
    """A folder of sightings that wait for the store. Every method may be called from any thread.

    `on_put` is called, on the thread that puts, after each sighting that was accepted.
    """

    def __init__(
        self,
        folder: Path,
        max_bytes: int,
        observer: StoreObserver,
        when_full: WhenFull = "drop_poorest",
    ) -> None:
        """Takes up what an earlier run left. SpoolError where the folder cannot be used."""
        self.on_put: Callable[[], None] | None = None
        self.folder = folder
        self._index = SpoolIndex(max_bytes, when_full)
        self._dead = DeadLetters(folder / DEAD_FOLDER, int(max_bytes * _DEAD_PART))
        self._observer = observer
        self._lock = threading.Lock()
        self._dropped = 0
        self._fault: str | None = None
        try:
            make_folder(folder)
            self._dead.prepare()
            self._take_up()
        except OSError as error:
            raise SpoolError(
                f"the spool folder {folder} cannot be used: {_reason(error)}; {_ADVICE}"
            ) from error

    @property
    def fault(self) -> str | None:
        """Why nothing can be put at the moment; None while all is well."""
        return self._fault

    @property
    def dropped(self) -> int:
        """How many had to go since the spool became full; 0 once there is room again."""
        return self._dropped

    @property
    def bytes_waiting(self) -> int:
        return self._index.bytes_waiting

    def __len__(self) -> int:
        return len(self._index)

    def oldest_seconds(self) -> float:
        """Seconds since the capture of the oldest sighting that waits; 0 when none does."""
        oldest = self.oldest()
        return 0.0 if oldest is None else max(0.0, time.time() - int(oldest[:15]) / 1000)

    def put(self, sighting: Sighting) -> str:
        """Stores the sighting and returns its id; then it survives a kill and a power cut.

        SpoolError where the disk is full, the folder cannot be written, or the sighting alone is
        larger than the spool: nothing of it is kept then, and the same call may succeed later.
        """
        content = sighting_file.encode(sighting)
        head = sighting_file.Head(sighting.cam_id, sighting.score, len(content))
        sighting_id = _new_id(sighting.captured_at)
        try:
            dropped = self._index.reserve(head.size)
        except SpoolError as error:
            self._refuses(error)
            raise
        path = self._path(sighting_id)
        accepted = False
        try:
            self._discard(dropped)
            write_durably(path, content)
            accepted = True
        except OSError as error:
            with contextlib.suppress(OSError):  # it may be there, though it is not sure to survive
                path.unlink(missing_ok=True)
            raise self._failed(error) from error
        finally:
            self._index.settle(sighting_id, head, accepted)
        self._healed()
        if (on_put := self.on_put) is not None:
            on_put()
        return sighting_id

    def pending(self) -> list[str]:
        """The ids that wait, oldest capture first."""
        return self._index.ids()

    def oldest(self, excluded: Container[str] = ()) -> str | None:
        """The id with the oldest capture time that is not excluded, if any."""
        return self._index.oldest(excluded)

    def camera_of(self, sighting_id: str) -> str:
        """The cam_id of a sighting that waits; empty for any other."""
        head = self._index.head(sighting_id)
        return head.cam_id if head else ""

    def get(self, sighting_id: str) -> Sighting:
        """Reads a sighting and protects it from eviction until `release`, `done` or `dead`.

        Raises:
            KeyError: it is not in the spool.
            MalformedSightingError: its file is damaged.
            SpoolError: it cannot be read at present.
        """
        self._index.hold(sighting_id)
        path = self._path(sighting_id)
        try:
            return sighting_file.decode(path.read_bytes())
        except OSError as error:
            if error.errno in _LOST:
                raise MalformedSightingError(f"its file cannot be read: {_reason(error)}") from error
            raise SpoolError(f"{path} cannot be read: {_reason(error)}; {_ADVICE}") from error

    def release(self, sighting_id: str) -> None:
        """Makes a sighting that was read, and stays in the spool, subject to eviction again."""
        self._index.release(sighting_id)

    def __contains__(self, sighting_id: str) -> bool:
        return self._index.head(sighting_id) is not None

    def done(self, sighting_id: str) -> None:
        """The sighting is stored: it leaves the spool. Nothing happens where it has left already.

        A power cut may bring it back; then it is found to be stored already, and leaves again.
        """
        path = self._path(sighting_id)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise SpoolError(f"{path} cannot be removed: {_reason(error)}; {_ADVICE}") from error
        self._forget(sighting_id)

    def dead(self, sighting_id: str, reason: str) -> None:
        """The sighting can never be stored: it goes to the folder `dead`, with the reason beside it."""
        path = self._path(sighting_id)
        try:
            self._dead.take(path, reason)
        except OSError as error:
            raise SpoolError(
                f"{path} cannot go to {self._dead.folder}: {_reason(error)}; {_ADVICE}"
            ) from error
        head = self._forget(sighting_id)
        self._observer.sighting(head.cam_id if head else "", "dead")

    def remove_dead(self, older_than_seconds: float) -> int:
        """Removes unusable sightings that were put aside longer ago, and returns how many."""
        return self._dead.remove_older_than(older_than_seconds)

    def _take_up(self) -> None:
        for path in sorted(self.folder.iterdir()):
            if path in (self._dead.folder, *(self.folder / name for name in crash_marks.NAMES)):
                continue
            if not path.is_file() or path.is_symlink():
                log.warning("something that is no sighting lies in the spool", path=str(path))
            elif is_temporary(path):
                path.unlink(missing_ok=True)
            elif path.suffix != SUFFIX or not _ID.fullmatch(path.stem):
                self._refuse(path, "its name is not one of a sighting")
            else:
                try:
                    self._index.add(path.stem, sighting_file.read_head(path))
                except MalformedSightingError as error:
                    self._refuse(path, str(error))
        if self._index:
            log.info("sightings of an earlier run wait in the spool", count=len(self._index))

    def _refuse(self, path: Path, reason: str) -> None:
        self._dead.take(path, reason)
        self._observer.sighting("", "dead")

    def _discard(self, dropped: dict[str, sighting_file.Head]) -> None:
        for sighting_id, head in dropped.items():
            self._observer.sighting(head.cam_id, "dropped")
            with self._lock:
                begins, self._dropped = self._dropped == 0, self._dropped + 1
            if begins:
                log.warning(
                    "the spool is full, poor and old sightings are dropped", max_bytes=self._index.max_bytes
                )
            self._path(sighting_id).unlink(missing_ok=True)

    def _failed(self, error: OSError) -> SpoolError:
        if error.errno == errno.ENOENT:  # somebody removed it; the next try finds another one
            with contextlib.suppress(OSError):
                self.folder.mkdir(mode=0o700)
        fault = SpoolError(f"the spool folder {self.folder} cannot be written: {_reason(error)}; {_ADVICE}")
        self._refuses(fault)
        return fault

    def _refuses(self, error: SpoolError) -> None:
        with self._lock:
            begins, self._fault = self._fault is None, str(error)
        if begins:
            log.error("the spool takes nothing", folder=str(self.folder), reason=str(error))

    def _healed(self) -> None:
        if self._fault:
            with self._lock:
                healed, self._fault = self._fault, None
            if healed:
                log.info("the spool takes sightings again", folder=str(self.folder))

    def _path(self, sighting_id: str) -> Path:
        if not _ID.fullmatch(sighting_id):
            raise ValueError(f"{sighting_id!r:.80} is no sighting's id")
        return self.folder / f"{sighting_id}{SUFFIX}"

    def _forget(self, sighting_id: str) -> sighting_file.Head | None:
        head = self._index.remove(sighting_id)
        with self._lock:
            has_room = self._index.bytes_waiting < self._index.max_bytes * _ROOM_AGAIN
            relieved = self._dropped if has_room else 0
            self._dropped -= relieved
        if relieved:
            log.info("the spool has room again", dropped=relieved)
        return head


_ADVICE = "make room on the disk, or give the service's user the right to write there"


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


def _new_id(captured_at: datetime) -> str:
    milliseconds = max(0, int(captured_at.astimezone(UTC).timestamp() * 1000))
    return f"{milliseconds:015d}_{secrets.token_hex(16)}"

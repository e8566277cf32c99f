"""Applies changes that other processes make in MongoDB to a facen storage in this process's memory.

A command that runs beside the daemon, such as enrolment, has its own storage. The daemon receives the
command's writes through MongoDB's change stream (https://www.mongodb.com/docs/manual/changeStreams/) within a
fraction of a second. Its own writes also arrive, and need no correction.

A MongoDB that is not a replica set has no change stream. There, new faces are polled every few seconds. Faces
removed by other processes stay in memory until the next start; searches skip them, because they look up the
faces in MongoDB.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from enum import Enum, auto
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import structlog
from bson import ObjectId

from pipeline.base.background import supervised
from pipeline.base.backoff import Backoff
from pipeline.faces.facen import FacenError
from pipeline.types import Facen
from store.errors import BadValueError, StoreError, StoreUnavailableError
from store.facens.storage import FacenStorage
from store.facens.sync.load import FIELDS, facen_for, load_facens
from store.mongo.client import Collection
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error
from store.mongo.ids import first_id_of

log = structlog.get_logger()

FIRST_PAUSE_SECONDS = 0.2
MAX_PAUSE_SECONDS = 30.0
CLOSE_SECONDS = 0.5
AWAIT_MS = 500
"""Maximum time for which the server waits for changes before it answers."""
LOAD_BATCH = 250
NO_STREAMS = 40573
"""MongoDB's error code for change streams without a replica set."""
POLL_SECONDS = 10.0
OVERLAP_SECONDS = 600.0
"""Overlap of polls, because a face gets its id before it is added to a gallery."""
NO_FACEN = np.zeros(1, dtype=np.float32)
"""A facen that differs from every other one."""
CHANGES: list[dict[str, Any]] = [
    {
        "$match": {
            "$or": [
                {"operationType": "insert", "fullDocument.gallery": {"$nin": [None, []]}},
                {"operationType": {"$in": ["update", "replace", "delete"]}},
            ]
        }
    },
    {"$project": {"operationType": 1, "documentKey": 1, "updateDescription": 1}},
]
"""Skips inserts of faces in no gallery, which are all new faces except imported ones."""


class SyncResult(Enum):
    """State of a face's entries before they were corrected."""

    CORRECT = auto()
    """Every entry had the facen of its document."""
    OTHER_FACEN = auto()
    """An entry had another facen than the document."""
    UNUSABLE = auto()
    """The document lists galleries but has no usable facen; the face was removed from all galleries."""


class FaceLocks:
    """One lock per face, held while its galleries change. While it is free, storage and MongoDB are
    consistent for this face."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()

    def get(self, face_id: int) -> asyncio.Lock:
        return self._locks.setdefault(face_id, asyncio.Lock())


class ChangeStream:
    """Applies the changes of one collection of faces to one storage."""

    def __init__(
        self,
        faces: Collection,
        facens: FacenStorage,
        locks: FaceLocks,
        compare: Callable[[], Awaitable[object]] | None = None,
        on_malformed: Callable[[], None] = lambda: None,
    ) -> None:
        """
        Args:
            compare: reconciles the whole storage after changes were missed. Default: loads missing faces.
            on_malformed: called when a malformed document was changed.
        """
        self._faces = faces
        self._facens = facens
        self._locks = locks
        self._compare = compare or (lambda: load_facens(faces, facens))
        self._on_malformed = on_malformed
        self._token: Mapping[str, Any] | None = None
        self._missed = False
        self._attempted = asyncio.Event()
        self.fault = ""
        """Why changes by other processes are not applied at present; empty while they are."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Apply changes until the end of the block. A load inside it misses no concurrent write."""
        task = supervised(self._run(), "following MongoDB's faces")
        task.add_done_callback(lambda _: self._attempted.set())
        try:
            await self._attempted.wait()
            yield
        finally:
            task.cancel()
            # Closing the stream waits for the server; one that hangs must not delay the shutdown.
            await asyncio.wait([task], timeout=CLOSE_SECONDS)
            if task.done() and not task.cancelling():
                task.result()  # raises a programming error

    async def _run(self) -> None:
        backoff = Backoff(FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS)
        while True:
            try:
                await self._follow(backoff)
            except _NoStreamsError:
                log.info(
                    "MongoDB is not a replica set; polling for new faces of other processes",
                    every=POLL_SECONDS,
                )
                self.fault = ""
                self._attempted.set()
                await self._poll()
            except StoreError as error:
                self._missed = self._missed or self._token is None
                self._failed(str(error))
            await asyncio.sleep(backoff.pause_seconds())

    def _failed(self, reason: str) -> None:
        if not self.fault:
            log.warning("changes by other processes are not applied at present", reason=reason)
        self.fault = reason
        self._attempted.set()

    async def _follow(self, backoff: Backoff) -> None:
        """Apply changes until the stream ends with a StoreError. The next call resumes it."""
        stream = self._faces.watch(CHANGES, resume_after=self._token, max_await_time_ms=AWAIT_MS)
        try:
            async with stream:
                self._attempted.set()
                if self._missed:
                    await self._compare()
                    self._missed = False
                if self.fault:
                    log.info("changes by other processes are applied again")
                self.fault = ""
                backoff.reset()
                async for event in stream:
                    await self._apply(event)
                    self._token = event["_id"]
        except DRIVER_ERRORS as error:
            if getattr(error, "code", None) == NO_STREAMS:
                raise _NoStreamsError from error
            translated = translate_error(error, "faces.watch")
            if isinstance(translated, StoreUnavailableError):
                # Without a delegate the stream was never opened.
                token = stream.resume_token if stream.delegate else None
                self._token = token or self._token
            else:  # resuming would fail again: restart from now, and compare
                self._token = None
            raise translated from error
        # The server ends a stream whose collection was dropped or renamed.
        self._token = None
        raise StoreUnavailableError("faces.watch: MongoDB has ended the change stream")

    async def _poll(self) -> None:
        since = time.time()
        while True:
            await asyncio.sleep(POLL_SECONDS)
            began = time.time()
            new = {"$gte": first_id_of(int((since - OVERLAP_SECONDS) * 1000))}
            try:
                await load_facens(self._faces, self._facens, {"_id": new, "gallery": {"$ne": []}})
            except (*DRIVER_ERRORS, StoreError) as error:
                self._failed(str(error))
            else:
                since, self.fault = began, ""

    async def _apply(self, event: Mapping[str, Any]) -> None:
        joined, left = _gallery_changes(event)
        face_id = event["documentKey"]["_id"]
        if isinstance(face_id, bool) or not isinstance(face_id, int):
            self._on_malformed()
        elif joined or left:
            await self.sync_face(face_id, left=left)

    def lock(self, face_id: int) -> asyncio.Lock:
        """The lock for changes of the face's galleries in this process."""
        return self._locks.get(face_id)

    async def sync_face(self, face_id: int, *, left: bool = True) -> SyncResult:
        """Make the face's entries in the storage match its document. Correct entries are not changed, so that
        searches always find them.

        Args:
            left: also remove it from other galleries, and compare its facens, which takes longer.

        Raises:
            StoreError: MongoDB or a shard does not answer.
        """
        async with self.lock(face_id):
            try:
                face = await self._faces.find_one({"_id": face_id}, FIELDS) or {}
            except DRIVER_ERRORS as error:
                raise translate_error(error, "faces.find") from error
            if not face and await self._exists(face_id):
                self._on_malformed()
            galleries = face.get("gallery") or []
            if left:
                for owner, gallery in await self._facens.galleries():
                    if gallery not in galleries or owner != face.get("owner"):
                        await self._facens.remove(owner, gallery, face_id)
            if not galleries:
                return SyncResult.CORRECT
            try:
                entry = (face_id, facen_for(self._facens, face))
                others = [await self._put(face["owner"], gallery, entry, left) for gallery in galleries]
            except (FacenError, BadValueError) as error:
                log.warning("a stored face has no usable facen", face=face_id, reason=str(error))
                for gallery in galleries:
                    await self._facens.remove(face["owner"], gallery, face_id)
                return SyncResult.UNUSABLE
            return SyncResult.OTHER_FACEN if any(others) else SyncResult.CORRECT

    async def _exists(self, face_id: int) -> bool:
        """Whether the document exists, malformed ones included."""
        try:
            return await self._faces.ungated.find_one({"_id": face_id}, {"_id": 1}) is not None
        except DRIVER_ERRORS as error:
            raise translate_error(error, "faces.find") from error

    async def load_missing(self, owner: ObjectId, gallery: str, ids: Sequence[int]) -> None:
        """Load missing faces of a gallery into the storage, in batches.

        Raises:
            StoreError: MongoDB or a shard does not answer.
        """
        for start in range(0, len(ids), LOAD_BATCH):
            # Sorted, because locks acquired in different orders could deadlock.
            batch = sorted(ids[start : start + LOAD_BATCH])
            async with AsyncExitStack() as locks:
                for face_id in batch:
                    await locks.enter_async_context(self.lock(face_id))
                try:
                    query = {"_id": {"$in": batch}, "owner": owner, "gallery": gallery}
                    await load_facens(self._faces, self._facens, query)
                except DRIVER_ERRORS as error:
                    raise translate_error(error, "facens.fill") from error

    async def is_consistent(self, owner: ObjectId, gallery: str, face_id: int) -> bool:
        """Whether MongoDB and the storage agree that the face is in the gallery. Takes the face's lock."""
        async with self.lock(face_id):
            this = {"_id": face_id, "owner": owner, "gallery": gallery}
            try:
                listed = await self._faces.find_one(this, {"_id": 1}) is not None
            except DRIVER_ERRORS as error:
                raise translate_error(error, "faces.find") from error
            comparison = await self._facens.compare(owner, gallery, [(face_id, NO_FACEN)])
            return listed == bool(comparison.other)

    async def _put(self, owner: ObjectId, gallery: str, entry: tuple[int, Facen], compare: bool) -> bool:
        """Add the entry. With `compare`, returns whether it replaced another facen."""
        other = compare and bool((await self._facens.compare(owner, gallery, [entry])).other)
        if other:
            await self._facens.remove(owner, gallery, entry[0])
        await self._facens.add_many(owner, gallery, [entry])
        return other


class _NoStreamsError(Exception):
    """This MongoDB has no change streams."""


def _gallery_changes(event: Mapping[str, Any]) -> tuple[bool, bool]:
    """Whether the change may have added the face to a gallery, and whether it may have removed it from
    one."""
    if event["operationType"] == "insert":
        return True, False
    if event["operationType"] != "update":
        return True, True
    description = event["updateDescription"]
    changed = {*description["updatedFields"], *description["removedFields"]}
    truncated = [part["field"] for part in description.get("truncatedArrays") or ()]
    appended = any(name.startswith("gallery.") for name in changed)
    return "gallery" in changed or appended, "gallery" in changed or "gallery" in truncated

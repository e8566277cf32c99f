"""Moves sightings from the spool into the store.

One at a time, the oldest first, so that two sightings of a new person create one person. A sighting that
fails is set aside and retried with growing delays, while the others continue. During an outage of the store
all wait, and one is tried at a time. Sightings that can never be stored become dead letters.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable

import structlog

from pipeline.base.background import wait_at_most
from pipeline.base.backoff import Backoff
from store.collections.users import UserArgument
from store.context import Context
from store.errors import MalformedSightingError, RefusedSightingError, StoreError, UploadError
from store.observer import StoreObserver
from store.spool.crash_marks import CrashMarks
from store.spool.recording import Recording, RecordingSettings, SightingGate
from store.spool.retries import Retries
from store.spool.spool import Spool
from store.spool.stored_sighting import StoredSighting

log = structlog.get_logger()

_FIRST_PAUSE_SECONDS = 0.25
_MAX_PAUSE_SECONDS = 30.0
_CRASHES = 3
"""Number of crashes after which a sighting is given up, if others could be stored."""


class Recorder:
    """Stores sightings while `run` runs, once, on the context's event loop. Not thread-safe."""

    def __init__(
        self,
        ctx: Context,
        user: UserArgument,
        spool: Spool,
        settings: RecordingSettings,
        observer: StoreObserver,
        on_stored: Callable[[StoredSighting], None],
        *,
        first_pause_seconds: float = _FIRST_PAUSE_SECONDS,
        longest_pause_seconds: float = _MAX_PAUSE_SECONDS,
        gate: SightingGate | None = None,
    ) -> None:
        """`on_stored` is called with each stored sighting after its removal from the spool.

        A crash in between loses the call, never the sighting.
        """
        self._recording = Recording(ctx, user, settings, observer, gate)
        self._spool = spool
        self._observer = observer
        self._on_stored = on_stored
        self._backoff = Backoff(first_pause_seconds, longest_pause_seconds)
        self._retries = Retries(first_pause_seconds, longest_pause_seconds)
        self._prefers_fresh = False
        self._evicted: set[str] = set()
        """Sightings that were evicted after a failed attempt, which may have stored parts of them."""
        self._crashes = CrashMarks(spool.folder)
        self._has_stored = False
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._empty = asyncio.Event()
        self._ended = False
        self._fault: str | None = None
        self._failures = 0
        self._failing_since = 0.0

    @property
    def fault(self) -> str | None:
        """Why nothing can be stored at present, or None."""
        return self._fault

    @property
    def set_aside(self) -> int:
        """Number of sightings whose last attempt failed."""
        return len(self._retries)

    async def run(self) -> None:
        """Store pending and new sightings until `stop`.

        An exception is a programming error; the next run retries that sighting once another one was stored.
        May be cancelled at any moment; the next start completes what was begun.
        """
        loop = asyncio.get_running_loop()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended; the next start finds the sighting
                loop.call_soon_threadsafe(self._wake.set)

        self._spool.on_put = wake
        try:
            while not self._stopping.is_set():
                self._wake.clear()
                sighting_id = self._next()
                if sighting_id is None:
                    await self._wait()
                else:
                    await self._attempt(sighting_id)
        finally:
            self._spool.on_put = None
            self._ended = True
            self._empty.set()

    def stop(self) -> None:
        """End `run` after the current sighting, or at once if it is waiting."""
        self._stopping.set()
        self._wake.set()

    async def drained(self) -> None:
        """Wait until the spool is empty or `run` has ended. Use a deadline: the store may be down."""
        while len(self._spool) and not self._ended:
            self._empty.clear()
            await self._empty.wait()

    def _next(self) -> str | None:
        """The sighting to try next: after a failure, one that has not failed; otherwise the oldest that is
        due."""
        for sighting_id in self._retries.ids():
            if sighting_id not in self._spool:
                self._retries.remove(sighting_id)
                self._evicted.add(sighting_id)
        suspects = set() if self._has_stored else self._crashes.ids()
        if self._prefers_fresh:
            fresh = self._spool.oldest(self._retries.ids() | suspects)
            if fresh is not None:
                return fresh
        return self._spool.oldest(self._retries.not_due() | suspects)

    async def _wait(self) -> None:
        """Wait until a sighting arrives or is due, or until `stop`."""
        due = self._retries.next_due_seconds()
        if due is None:
            self._end_outage()
            self._empty.set()
        await wait_at_most(self._wake, due)
        self._empty.clear()

    async def _attempt(self, sighting_id: str) -> None:
        """Store a sighting, move it to the dead letters, or set it aside."""
        try:
            await self._try(sighting_id)
        except StoreError as error:
            await self._record_failure(sighting_id, error)
        except Exception:
            await asyncio.to_thread(self._crashes.add, sighting_id)
            raise
        else:
            self._prefers_fresh = False
            if self._crashes.count(sighting_id):
                await asyncio.to_thread(self._crashes.remove, sighting_id)

    async def _try(self, sighting_id: str) -> None:
        try:
            sighting = await asyncio.to_thread(self._spool.get, sighting_id)
        except KeyError:  # evicted since it was chosen; `_next` notices
            return
        except MalformedSightingError as error:
            await self._give_up(sighting_id, str(error))
            return
        if (crashes := self._crashes.count(sighting_id)) >= _CRASHES:
            await self._recording.forget(sighting_id)
            await self._give_up(sighting_id, f"the process ended {crashes} times while it was being stored")
            return
        try:
            stored = await self._recording.record(sighting_id, sighting)
        except MalformedSightingError as error:
            await self._give_up(sighting_id, str(error))
            return
        except RefusedSightingError:
            await asyncio.to_thread(self._spool.done, sighting_id)
            self._retries.remove(sighting_id)
            self._observer.sighting(sighting.cam_id, "refused")
            return
        await asyncio.to_thread(self._spool.done, sighting_id)
        self._retries.stored(sighting_id)
        self._has_stored = True
        self._end_outage()
        self._observer.sighting(stored.cam_id, "stored")
        self._on_stored(stored)
        await self._forget_evicted()

    async def _forget_evicted(self) -> None:
        """Remove what failed attempts stored of evicted sightings. Called while the store works."""
        while self._evicted:
            sighting_id = self._evicted.pop()
            try:
                await self._recording.forget(sighting_id)
            except StoreError as error:
                self._evicted.add(sighting_id)
                log.debug("parts of evicted sightings cannot be removed at present", reason=str(error))
                return

    async def _give_up(self, sighting_id: str, reason: str) -> None:
        await asyncio.to_thread(self._spool.dead, sighting_id, reason)
        self._retries.remove(sighting_id)

    async def _record_failure(self, sighting_id: str, error: StoreError) -> None:
        failure = self._retries.failed(sighting_id, error)
        if failure.hopeless:
            try:
                await self._recording.forget(sighting_id)
                await self._give_up(sighting_id, str(error))
            except StoreError as another:
                error, failure = another, self._retries.failed(sighting_id, another)
            else:
                return
        self._spool.release(sighting_id)
        self._observer.sighting(self._spool.camera_of(sighting_id), "retried")
        self._failures += 1
        self._prefers_fresh = not failure.in_place
        if failure.of_store:
            await self._pause(error)
        elif failure.attempts == 1:
            log.warning(
                "set aside a sighting that cannot be stored at present",
                sighting=sighting_id,
                reason=str(error),
            )

    async def _pause(self, error: StoreError) -> None:
        """Wait before the next attempt during an outage; `stop` ends the wait."""
        if self._fault is None:
            self._failing_since = time.monotonic()
            log.warning(
                "sightings wait in the spool: the store does not accept them",
                reason=str(error),
                waiting=len(self._spool),
            )
        self._fault = str(error)
        after = (error.retry_after_seconds or 0.0) if isinstance(error, UploadError) else 0.0
        await wait_at_most(self._stopping, max(after, self._backoff.pause_seconds()))

    def _end_outage(self) -> None:
        if self._fault is None:
            return
        log.info(
            "sightings are stored again",
            failed_attempts=self._failures,
            after_seconds=round(time.monotonic() - self._failing_since, 1),
        )
        self._fault, self._failures = None, 0
        self._backoff.reset()

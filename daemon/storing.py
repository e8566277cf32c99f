"""Opens the store, retries until it is available, and runs the recorder, which stores the sightings in the
spool."""

import asyncio
import contextlib

import structlog

from daemon.camera_leases import LeasedSightings
from daemon.config.person_rules import recording_settings
from daemon.config.settings import Settings
from daemon.errors import StartError
from daemon.events.bus import EventBus
from daemon.events.delivery import EventDelivery
from daemon.events.producers import StoredSightings
from daemon.events.types import StoreStateChanged
from daemon.plugins.host import Plugins
from daemon.runtime.metrics import Metrics
from daemon.runtime.shutdown_limit import side_by_side
from daemon.runtime.store_health import StoreHealth
from daemon.store_session import StoreSession, open_session
from pipeline.base.background import supervised
from pipeline.base.backoff import Backoff
from pipeline.base.deadline import Deadline
from pipeline.models.loader import Models
from store import (
    BadValueError,
    Context,
    StoreError,
    StoreUnavailableError,
)
from store.errors import NewerSchemaError, PackError
from store.mongo.shapes import SHAPES
from store.outbox.events import Outbox
from store.spool.recorder import Recorder
from store.spool.spool import Spool

log = structlog.get_logger(__name__)

HEALTH_SECONDS = 2.0
"""Interval between health checks of the store."""

FIRST_PAUSE_SECONDS = 0.5
MAX_PAUSE_SECONDS = 10.0

OPENING = "the store is being opened"

CLOSE_SECONDS = 7.0
"""Default deadline of `close`."""

AFTER_RECORDING_SECONDS = 4.3
"""Time reserved for the steps after the current sighting is stored. If it takes longer, it is cancelled, and
stored after the next start."""

AFTER_PLUGINS_SECONDS = 3.0
"""Time reserved for closing MongoDB's client and a private mongod, which flushes its memory to disk."""

PERMANENT = (PackError, NewerSchemaError, BadValueError)
"""Errors at opening that a retry does not fix: an operator has to change settings, data or version."""


class Storing:
    """Moves sightings from the spool to the store."""

    def __init__(
        self,
        settings: Settings,
        models: Models,
        spool: Spool,
        metrics: Metrics,
        events: EventBus,
        plugins: Plugins,
        delivery: EventDelivery | None = None,
    ) -> None:
        """`delivery`: delivers events to sinks while the store is open. Default: no delivery."""
        self._settings = settings
        self._models = models
        self._spool = spool
        self._metrics = metrics
        self._events = events
        self._stored_sightings = StoredSightings(events)
        self._delivery = delivery
        self._published_trouble: str | None = None
        self._plugins = plugins
        self._task: asyncio.Task[None] | None = None
        self._recorder: Recorder | None = None
        self._trouble = OPENING
        self._recorded = asyncio.Event()
        self._closing: Deadline | None = None
        self.session: StoreSession | None = None
        """None while the store is not open."""
        self.health = StoreHealth()
        self.opened = asyncio.Event()
        """Set when the store has been opened once."""

    @property
    def trouble(self) -> str:
        """Why nothing is stored at present; empty otherwise."""
        if self._recorder is None or self.session is None:
            return self._trouble
        trouble, why = self._recorder.fault or self.health.away, self.session.ctx.fault
        return f"{trouble}; {why}" if trouble and why else trouble

    @property
    def set_aside(self) -> int:
        """Number of sightings that failed and wait for their next attempt while others are stored."""
        return 0 if self._recorder is None else self._recorder.set_aside

    @property
    def malformed(self) -> dict[str, float]:
        """Number of malformed documents by collection."""
        if self.session is None:
            return dict.fromkeys(SHAPES, 0.0)
        return self.session.ctx.malformed.counts

    @property
    def not_followed(self) -> str:
        """Why changes by other processes are not received at present; empty if they are."""
        return self.trouble if self.session is None else self.session.ctx.facens_lifecycle.fault

    @property
    def outbox(self) -> Outbox | None:
        """The outbox for events of this box; None while the store is not open."""
        if (session := self.session) is None:
            return None
        return Outbox(session.ctx.database, session.owner["_id"], session.ctx.box)

    def require_session(self) -> StoreSession:
        """The open store.

        Raises:
            StoreUnavailableError: the store is not open; the message says why.
        """
        if self.session is None:
            raise StoreUnavailableError(self.trouble)
        return self.session

    def start(self) -> None:
        """Open the store and record sightings in a supervised task."""
        self._task = supervised(self._run(), "storing")

    async def drain(self, timeout_seconds: float) -> None:
        """Wait until the recorder has stored the sightings in the spool, or until the timeout."""
        if self._recorder is None:
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._recorder.drained(), timeout_seconds)

    async def close(self, deadline: Deadline | None = None) -> None:
        """Stop the recorder after the current sighting, and close the store, within the deadline."""
        if self._task is None:
            return
        self._closing = deadline = deadline or Deadline.within(CLOSE_SECONDS)
        if self._recorder is not None:
            self._recorder.stop()
            await deadline.leaving(AFTER_RECORDING_SECONDS).wait(self._recorded.wait())
        if not self._recorded.is_set():
            self._task.cancel()
        _, late = await asyncio.wait([self._task], timeout=deadline.remaining())
        if late:
            log.warning("the store could not be closed in time; accepted sightings are in the spool")

    async def watch_health(self) -> None:
        """Check the store's health at intervals until cancelled, and publish when it changes."""
        while True:
            await self.health.check(None if self.session is None else self.session.ctx)
            self._publish_state()
            await asyncio.sleep(HEALTH_SECONDS)

    def _publish_state(self) -> None:
        trouble, before = self.trouble, self._published_trouble
        if trouble == OPENING:  # happens at each start
            return
        if before is None or bool(trouble) != bool(before):
            self._published_trouble = trouble
            self._events.publish(StoreStateChanged(trouble))

    async def _run(self) -> None:
        backoff = Backoff(FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS)
        failures = 0
        while True:
            try:
                await self._serve()
                return
            except PERMANENT as error:
                raise StartError(f"store: {error}") from error
            except StoreError as error:
                self._trouble = str(error)
                if not failures:
                    log.error("the store cannot be opened; sightings wait in the spool", reason=str(error))
                failures += 1
                await asyncio.sleep(backoff.pause_seconds())

    async def _serve(self) -> None:
        """Open the store and store sightings until `close`."""
        opening = open_session(self._settings, self._models, self._metrics, self._close_deadline)
        async with opening as session:
            try:
                # Before the first sighting is stored, because plugins receive every sighting.
                await self._plugins.activate(session.ctx, session.owner, self._events)
                self.session = session
                self._recorder = self._new_recorder(session)
                self.opened.set()
                async with contextlib.AsyncExitStack() as stack:
                    if self._delivery is not None:
                        await stack.enter_async_context(self._delivery.running(session.ctx, session.owner))
                    await self._recorder.run()
                last = {"snapshot": self._save_at_end(session.ctx)}
            except BaseException:
                last = {}
                raise
            finally:
                self.session = None
                self._recorded.set()
                deadline = self._close_deadline().leaving(AFTER_PLUGINS_SECONDS)
                await side_by_side(deadline, plugins=self._plugins.close(), **last)

    def _new_recorder(self, session: StoreSession) -> Recorder:
        recording = recording_settings(self._settings.persons, self._models.pack)
        gate = LeasedSightings(session.camera_leases, self._plugins)
        return Recorder(
            session.ctx,
            session.owner,
            self._spool,
            recording,
            self._metrics,
            self._stored_sightings,
            gate=gate,
        )

    async def _save_at_end(self, ctx: Context) -> None:
        """Save a snapshot of the facens; without a snapshot, the next start reads them from MongoDB."""
        try:
            await ctx.facens_lifecycle.save()
        except OSError as error:
            log.warning("the facens were not saved to disk", reason=str(error))

    def _close_deadline(self) -> Deadline:
        """The deadline for closing the store, once it is being closed."""
        return self._closing or Deadline.within(CLOSE_SECONDS)

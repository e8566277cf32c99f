"""The store's side of the daemon: opens the context, keeps trying, and lets the recorder work."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta

import structlog

from daemon.config.camera_documents import check_document
from daemon.config.camera_leases import LeasedSightings
from daemon.config.rules import evidence_rules, recording_settings, threshold
from daemon.config.service_user import owner
from daemon.config.settings import Settings
from daemon.config.uploads import uploads_of
from daemon.errors import StartError
from daemon.plugins.host import Plugins
from daemon.rebuilding import rebuild
from daemon.runtime.metrics import Metrics
from daemon.runtime.shutdown import side_by_side
from daemon.runtime.store_health import StoreLook
from pipeline.base.background import supervised
from pipeline.base.backoff import Backoff
from pipeline.base.deadline import Deadline
from pipeline.extractor import Extractor
from pipeline.models.engine import Models
from store import (
    AuthenticationError,
    BadValueError,
    ConflictError,
    Context,
    StoreError,
    StoreUnavailableError,
    Users,
)
from store.collections.cameras import Cameras
from store.facens.sync.migrate import Proof
from store.identity.evidence import PersonEvidence
from store.identity.unassigned import Withheld
from store.mongo.change_stream import watch
from store.mongo.driver_errors import DRIVER_ERRORS, ours
from store.mongo.shapes import SHAPES
from store.mongo.term_leases import TermLeases
from store.spool.recorder import Recorder
from store.spool.recording import StoredSighting
from store.spool.spool import Spool
from store.upkeep.doctor.doctor import Doctor
from store.upkeep.doctor.findings import Finding
from store.upkeep.job_runs import JobRuns
from store.upkeep.limits import Limits
from store.upkeep.retention import Retention

log = structlog.get_logger(__name__)

HEALTH_SECONDS = 2.0
"""The pause between two looks at the store's health."""

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 10.0

CLOSE_SECONDS = 7.0
"""For all steps of `close` where it is given no deadline."""

AFTER_WORK_SECONDS = 4.3
"""Kept for the steps after the sighting in work, which is broken off then and stored after the next start."""

AFTER_PLUGINS_SECONDS = 3.0
"""Kept for closing the store: MongoDB's client, and a mongod that writes down what it holds."""


class Storing:
    """Sightings go from the spool to the store while this runs. `opened`: the store has answered once."""

    def __init__(
        self,
        settings: Settings,
        models: Models,
        spool: Spool,
        metrics: Metrics,
        on_stored: Callable[[StoredSighting], None],
        plugins: Plugins,
    ) -> None:
        self._settings = settings
        self._models = models
        self._spool = spool
        self._metrics = metrics
        self._on_stored = on_stored
        self._plugins = plugins
        self._task: asyncio.Task[None] | None = None
        self._ctx: Context | None = None
        self._owner: Users.Model | None = None
        self._recorder: Recorder | None = None
        self.camera_leases: TermLeases | None = None
        """Which box reads each camera of the owner; None while the store is not open."""
        self._trouble = "the store is being opened"
        self.seen = StoreLook()
        self._recorded = asyncio.Event()
        self._closing: Deadline | None = None
        self._tidying = asyncio.Lock()  # retention may take hours, and a check would find its work half done
        self._tidied_by = ""
        self.opened = asyncio.Event()

    @property
    def trouble(self) -> str:
        """Why nothing is stored at present, or the empty string."""
        if self._recorder is None or self._ctx is None:
            return self._trouble
        trouble, why = self._recorder.fault or self.seen.away, self._ctx.fault
        return f"{trouble}; {why}" if trouble and why else trouble

    @property
    def set_aside(self) -> int:
        """How many sightings failed and wait for their next attempt, while others go on."""
        return 0 if self._recorder is None else self._recorder.set_aside

    @property
    def malformed(self) -> dict[str, float]:
        """How many documents no reader takes, by collection."""
        return dict.fromkeys(SHAPES, 0.0) if self._ctx is None else self._ctx.malformed.counts

    @property
    def not_followed(self) -> str:
        """Why changes by other processes are not seen at present, or the empty string."""
        return self.trouble if self._ctx is None else self._ctx.keeping.fault

    def start(self, on_crash: Callable[[BaseException], None]) -> None:
        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (error := task.exception()) is not None:
                on_crash(error)

        self._task = asyncio.create_task(self._run(), name="storing")
        self._task.add_done_callback(ended)

    async def drain(self, timeout_seconds: float) -> None:
        """Let the recorder finish what waits in the spool, if the store answers."""
        if self._recorder is None:
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._recorder.drained(), timeout_seconds)

    async def close(self, deadline: Deadline | None = None) -> None:
        """End the recorder after the sighting in work, and close the store, all by the deadline."""
        if self._task is None:
            return
        self._closing = deadline = deadline or Deadline.within(CLOSE_SECONDS)
        if self._recorder is not None:
            self._recorder.stop()
            await deadline.leaving(AFTER_WORK_SECONDS).wait(self._recorded.wait())
        if not self._recorded.is_set():
            self._task.cancel()
        _, late = await asyncio.wait([self._task], timeout=deadline.remaining())
        if late:
            log.warning("the store could not be closed in time; what was accepted is in the spool")

    def closing(self) -> Deadline:
        """By when the store must be closed, once it is being closed."""
        return self._closing or Deadline.within(CLOSE_SECONDS)

    async def watch_health(self) -> None:
        """Until cancelled: see how the store is, also while nothing is stored."""
        while True:
            await self.seen.take(self._ctx)
            await asyncio.sleep(HEALTH_SECONDS)

    async def save_facens(self) -> None:
        """Write the facens in memory to disk. The next run makes up for one while the store is away."""
        if self._ctx is not None:
            await self._ctx.keeping.save()

    @property
    def job_runs(self) -> JobRuns | None:
        """When this box's nightly jobs ran; None while the store is not open."""
        return None if self._ctx is None else JobRuns(self._ctx.database, self._settings.box)

    async def retention(self) -> None:
        """Remove what is too old. Does nothing while the store is away: the next run makes up for it."""
        if self._ctx is None or self._owner is None:
            log.warning("retention waits for the store", reason=self.trouble)
            return
        async with self._tidies("retention"):
            await Retention(self._ctx, self._owner, self._settings.jobs.retention, self._spool).run()

    async def make_room(self, picture_bytes: int) -> int:
        """Remove the oldest pictures until so many bytes are freed; returns how many were. Raises StoreError.

        Beside retention and checks, which may take hours: a full disk does not wait for them.
        """
        if self._ctx is None or self._owner is None:
            raise StoreUnavailableError(self.trouble)
        return await Limits(self._ctx, self._owner).free(picture_bytes)

    async def look_again(self) -> None:
        """Look again at the faces without a person. The next run makes up for one while the store is away."""
        if self._ctx is None or self._owner is None:
            return
        enough = threshold(self._settings.persons, self._models.pack)
        async with self._alone("look_again") as alone:
            if alone:
                await Withheld(self._ctx, self._owner, enough).look_again()
        if self._ctx is not None:  # not closed meanwhile
            await self._ctx.locations.carry_out()

    async def compare_persons(self) -> None:
        """Look for persons who are one, and propose or make the merges."""
        persons, pack = self._settings.persons, self._models.pack
        if self._ctx is None or self._owner is None:
            log.warning("comparing persons waits for the store", reason=self.trouble)
            return
        rules, references = evidence_rules(persons, pack), self._ctx.persons.rules.references
        async with self._alone("merge") as alone:
            if alone:
                await PersonEvidence(self._ctx, self._owner, rules, references).night(persons.merge)

    async def check(self) -> None:
        """Look whether everything stored agrees. The next run makes up for one while the store is away."""
        if self._ctx is None:
            log.warning("the nightly check waits for the store", reason=self.trouble)
            return
        async with self._tidies("the nightly check"):
            await Doctor(self._ctx).nightly()

    async def findings(
        self, *, repair: bool, grace: timedelta, force: bool = False
    ) -> AsyncIterator[Finding]:
        """What does not agree in the store, mended if `repair`. StoreError where it is away."""
        async with self._tidies("`facend doctor`"):
            if self._ctx is None:
                raise StoreUnavailableError(self.trouble)
            async for finding in Doctor(self._ctx, grace).findings(repair=repair, force=force):
                yield finding

    async def rebuild_facens(self, told: Callable[[int, int], object]) -> Proof:
        """Put the facen storage right by MongoDB, face by face, and prove that both are equal.

        It is searched and added to all the while. `told` hears how many entries were looked at, and of how
        many. StoreError where the store or a shard is away, or something else works on the store.
        """
        if self._tidying.locked():
            raise StoreUnavailableError(
                f"{self._tidied_by} works on the store at present: run `facend facens rebuild` again when it "
                "has ended"
            )
        async with self._tidies("another `facend facens rebuild`"):
            if self._ctx is None:
                raise StoreUnavailableError(self.trouble)
            try:
                return await rebuild(self._ctx, told)
            except StoreError as error:
                if self._ctx is None:
                    raise StoreUnavailableError("the daemon was stopped meanwhile; run it again") from error
                raise

    @contextlib.asynccontextmanager
    async def _tidies(self, who: str) -> AsyncIterator[None]:
        async with self._tidying:
            self._tidied_by = who
            yield

    @contextlib.asynccontextmanager
    async def _alone(self, job: str) -> AsyncIterator[bool]:
        """Whether this box may run a job on its owner's persons; False where another box runs it."""
        if self._ctx is None or self._owner is None:
            yield False
            return
        leases = TermLeases(self._ctx.database, "job", self._owner["_id"], self._settings.box)
        async with leases.held(job) as other:
            if other:
                log.info("another box runs this job at present", job=job, box=other)
            yield not other

    async def release_cameras(self) -> None:
        """Let another box read this box's cameras at once, where the store answers."""
        if self.camera_leases is not None:
            with contextlib.suppress(StoreError):  # the leases expire by themselves
                await self.camera_leases.release()

    async def camera_documents(self, box: str) -> list[Cameras.Model]:
        """The collection's cameras that this box reads, malformed ones too. StoreError where it is away."""
        if self._ctx is None or self._owner is None:
            raise StoreUnavailableError(self.trouble)
        here = [{"detector": {"$in": [box, "", None]}}, {"detector": {"$not": {"$type": "string"}}}]
        query = {"owner": self._owner["_id"], "$or": here}
        try:
            found = await self._ctx.database[Cameras.name].ungated.find(query).to_list(None)
        except DRIVER_ERRORS as error:
            raise ours(error, "cameras.find") from error
        return [Cameras.Model(document) for document in found]

    async def watch_cameras(self, notify: Callable[[], None]) -> None:
        """Calls `notify` at every change of the collection, until cancelled or the store is closed."""
        if self._ctx is not None:
            await watch(self._ctx.database[Cameras.name], notify)

    async def is_owner(self, tokens: Sequence[str]) -> bool:
        """Whether one of these is the token of the box's own user. StoreError where the store is away."""
        if self._ctx is None or self._owner is None:
            raise StoreUnavailableError(self.trouble)
        for token in tokens:
            with contextlib.suppress(AuthenticationError):
                user = await self._ctx.users.authenticate(token)
                return bool(user["_id"] == self._owner["_id"])
        return False

    async def _run(self) -> None:
        backoff = Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        failures = 0
        while True:
            try:
                await self._serve()
                return
            except StoreUnavailableError as error:
                self._trouble = str(error)
                if not failures:
                    log.error("the store cannot be opened; sightings wait in the spool", reason=str(error))
                failures += 1
                await asyncio.sleep(backoff.pause_seconds())
            except StoreError as error:
                raise StartError(f"store: {error}") from error

    async def _serve(self) -> None:
        """Open the store and store what comes until `close`."""
        settings, pack = self._settings, self._models.pack
        async with (
            uploads_of(settings) as uploads,
            Context.open(
                settings.store,
                persons=settings.persons,
                data_dir=settings.data_dir,
                uploads=uploads,
                extractor=Extractor(self._models, settings.pipeline.max_pixels),
                facens_settings=settings.facens,
                facen_size=pack.facen_size,
                pack=pack.name,
                max_pixels=settings.pipeline.max_pixels,
                thumbnail_hosts=settings.uploads.thumbnail_hosts,
                check_camera=check_document,
                observer=self._metrics,
                closing=self.closing,
                box=settings.box,
            ) as ctx,
        ):
            self._owner = await self._own_user(ctx)
            recording = recording_settings(settings.persons, pack)
            watching = supervised(ctx.malformed.watch(), "malformed documents")
            try:
                # Before the first sighting is stored: a plugin sees every one.
                await self._plugins.activate(ctx, self._owner)
                self._ctx = ctx
                self.camera_leases = TermLeases(ctx.database, "camera", self._owner["_id"], settings.box)
                gate = LeasedSightings(self.camera_leases, self._plugins)
                self._recorder = Recorder(
                    ctx, self._owner, self._spool, recording, self._metrics, self._tell, gate=gate
                )
                self.opened.set()
                await self._recorder.run()
                last = {"snapshot": self._save_at_end(ctx)}
            except BaseException:
                last = {}
                raise
            finally:
                watching.cancel()
                self._ctx = self.camera_leases = None
                self._recorded.set()
                deadline = self.closing().leaving(AFTER_PLUGINS_SECONDS)
                await side_by_side(deadline, plugins=self._plugins.close(), **last)

    async def _own_user(self, ctx: Context) -> Users.Model:
        """StoreUnavailableError where there is none at present: sightings wait in the spool meanwhile."""
        settings = self._settings
        try:
            return await owner(ctx, settings.store.token.get_secret_value(), settings.data_dir)
        except (StartError, BadValueError, ConflictError) as error:
            raise StoreUnavailableError(
                f"the user in whose name this box stores cannot be found: {error}"
            ) from error

    async def _save_at_end(self, ctx: Context) -> None:
        """The next start is quick; without it the next start reads more from MongoDB."""
        try:
            await ctx.keeping.save()
        except OSError as error:
            log.warning("the facens were not written to disk", reason=str(error))

    def _tell(self, stored: StoredSighting) -> None:
        self._on_stored(stored)
        self._plugins.stored(stored)

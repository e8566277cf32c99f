"""Maintenance of the open store: periodic jobs, and long operations that an operator starts."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta

import structlog

from daemon.config.person_rules import evidence_rules, threshold
from daemon.config.settings import Settings
from daemon.store_session import StoreSession
from daemon.storing import Storing
from pipeline.models.loader import Models
from store import AuthenticationError, Context, FacenStorageError, StoreError, StoreUnavailableError
from store.accounts.audit import AuditLog
from store.facens.sync.diff import expected_entries
from store.facens.sync.migrate import MigrationReport, migrate_facens
from store.identity.evidence import PersonEvidence
from store.identity.unassigned import UnassignedFaces
from store.mongo.term_leases import TermLeases
from store.spool.spool import Spool
from store.upkeep.doctor.doctor import Doctor
from store.upkeep.doctor.findings import Finding
from store.upkeep.job_runs import JobRuns
from store.upkeep.limits import Limits
from store.upkeep.retention import Retention
from store.visits.follow_faces import follow_faces

log = structlog.get_logger(__name__)


class Upkeep:
    """Maintenance jobs of the daemon.

    While the store is not available, a job does nothing; its next run catches up.
    """

    def __init__(self, settings: Settings, models: Models, spool: Spool, storing: Storing) -> None:
        self._settings = settings
        self._models = models
        self._spool = spool
        self._storing = storing
        self._maintenance = asyncio.Lock()
        """Held by retention and checks: retention may take hours, and a check would find it half done."""
        self._maintained_by = ""

    @property
    def job_runs(self) -> JobRuns | None:
        """When this box's nightly jobs ran; None while the store is not open."""
        session = self._storing.session
        if session is None:
            return None
        return JobRuns(session.ctx.database, session.box_id or self._settings.box)

    async def save_facens(self) -> None:
        """Save a snapshot of the facens in memory."""
        if (session := self._storing.session) is not None:
            await session.ctx.facens_lifecycle.save()

    async def retention(self) -> None:
        """Remove faces, pictures and entries of the audit log that exceed the limits of the settings."""
        if (session := self._session_for("retention")) is not None:
            async with self._maintained("retention"):
                limits = self._settings.jobs.retention
                await Retention(session.ctx, session.owner, limits, self._spool).run()
                if days := self._settings.jobs.audit_days:
                    audit = AuditLog(session.ctx.database, session.owner["_id"])
                    await audit.prune(timedelta(days=days))

    async def free_pictures(self, picture_bytes: int) -> int:
        """Remove the oldest pictures until `picture_bytes` are freed; returns the bytes freed.

        Does not wait for retention and checks, which may take hours.

        Raises:
            StoreError: the store is away.
        """
        session = self._storing.require_session()
        return await Limits(session.ctx, session.owner).free(picture_bytes)

    async def look_again(self) -> None:
        """Compare the faces without a person again, and carry out pending removals of pictures."""
        if (session := self._storing.session) is None:
            return
        enough = threshold(self._settings.persons, self._models.pack)
        async with self._exclusive(session, "look_again") as exclusive:
            if exclusive:
                await UnassignedFaces(session.ctx, session.owner, enough).reassess()
        if self._storing.session is not None:  # not closed meanwhile
            await session.ctx.locations.remove_recorded()

    async def compare_persons(self) -> None:
        """Compare all persons, and propose or make merges."""
        persons, pack = self._settings.persons, self._models.pack
        if (session := self._session_for("comparison of persons")) is None:
            return
        references = session.ctx.persons.rules.references
        async with self._exclusive(session, "merge") as exclusive:
            if exclusive:
                rules = await evidence_rules(session.ctx, session.owner, persons, pack)
                await PersonEvidence(session.ctx, session.owner, rules, references).run_nightly(persons.merge)

    async def check(self) -> None:
        """Check the consistency of everything that is stored."""
        if (session := self._session_for("nightly check")) is not None:
            await follow_faces(session.ctx.database)
            async with self._maintained("the nightly check"):
                await Doctor(session.ctx).nightly()

    async def findings(
        self, *, repair: bool, grace: timedelta, force: bool = False
    ) -> AsyncIterator[Finding]:
        """Inconsistencies in the store, repaired if `repair`.

        Raises:
            StoreError: the store is away.
        """
        async with self._maintained("`facend doctor`"):
            session = self._storing.require_session()
            async for finding in Doctor(session.ctx, grace).findings(repair=repair, force=force):
                yield finding

    async def rebuild_facens(self, on_progress: Callable[[int, int], object]) -> MigrationReport:
        """Correct the facen storage from MongoDB, and verify that both are equal; see `rebuild_facens`.

        Raises:
            StoreError: the store or a shard is not available, or other maintenance is running.
        """
        if self._maintenance.locked():
            raise StoreUnavailableError(
                f"{self._maintained_by} is running: run `facend facens rebuild` again when it has ended"
            )
        async with self._maintained("another `facend facens rebuild`"):
            session = self._storing.require_session()
            try:
                return await rebuild_facens(session.ctx, on_progress)
            except StoreError as error:
                if self._storing.session is None:
                    raise StoreUnavailableError("the daemon was stopped meanwhile; run it again") from error
                raise

    async def is_service_token(self, tokens: Sequence[str]) -> bool:
        """Whether one of the tokens belongs to the user who owns this box's data.

        Raises:
            StoreError: the store is away.
        """
        session = self._storing.require_session()
        for token in tokens:
            with contextlib.suppress(AuthenticationError):
                user = await session.ctx.users.authenticate(token)
                return bool(user["_id"] == session.owner["_id"])
        return False

    def _session_for(self, job: str) -> StoreSession | None:
        if self._storing.session is None:
            log.warning("a job waits for the store", job=job, reason=self._storing.trouble)
        return self._storing.session

    @contextlib.asynccontextmanager
    async def _maintained(self, by: str) -> AsyncIterator[None]:
        """Hold the maintenance lock. `by`: name of the work, for the error of other work that is refused."""
        async with self._maintenance:
            self._maintained_by = by
            yield

    @contextlib.asynccontextmanager
    async def _exclusive(self, session: StoreSession, job: str) -> AsyncIterator[bool]:
        """Hold the lease of a job on the owner's persons; False while another box holds it."""
        leases = TermLeases(session.ctx.database, "job", session.owner["_id"], self._settings.box)
        async with leases.held(job) as other:
            if other:
                log.info("another box runs this job at present", job=job, box=other)
            yield not other


async def rebuild_facens(ctx: Context, on_progress: Callable[[int, int], object]) -> MigrationReport:
    """Correct each face whose entry in the facen storage differs from MongoDB, verify that both are equal,
    and save a snapshot. Searches work meanwhile.

    `on_progress` is called with the number of entries compared, and their total.

    Raises:
        StoreError: MongoDB or a shard does not answer, both are not equal, or the snapshot cannot be written.
    """
    if out := [shard.name for shard in await ctx.facens.health() if not shard.live]:
        raise FacenStorageError(
            f"{', '.join(out)} of the facen storage is out of service; the daemon restores it if possible, "
            "and logs the reason: run this again then",
            out[0],
        )
    done, entries = 0, sum((await expected_entries(ctx.database["faces"])).values())

    def report_progress(more: int) -> None:
        nonlocal done
        done += more
        on_progress(done, entries)

    report_progress(0)
    proof = await migrate_facens(ctx.database, ctx.facens, report_progress, ctx.faces.locks)
    try:
        await ctx.facens_lifecycle.save()
    except OSError as error:
        raise StoreUnavailableError(
            f"the facens are in order, but the snapshot cannot be written ({error.strerror})"
        ) from error
    return proof

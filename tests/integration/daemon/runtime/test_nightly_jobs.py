"""Nightly jobs on a box that is switched off at night, with a real MongoDB."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

from daemon.config.settings import Settings
from daemon.events import EventBus
from daemon.plugins.host import Plugins
from daemon.runtime.jobs import Jobs
from daemon.runtime.metrics import Metrics
from daemon.runtime.nightly_jobs import NightlyJobs
from daemon.runtime.tasks import TaskGroup
from daemon.store_session import StoreSession
from daemon.storing import Storing
from daemon.upkeep import Upkeep
from store.context import Context
from store.mongo.term_leases import TermLeases
from store.observer import UnobservedStore
from store.spool.spool import Spool
from store.upkeep.job_runs import JobRuns
from tests.faces import default_models

HOUR = timedelta(hours=1)


class Box:
    """One run of a daemon: a job `doctor` whose time was three hours ago."""

    def __init__(self, ctx: Context) -> None:
        self.runs = JobRuns(ctx.database, "box")
        self.jobs = Jobs(Metrics(version="0", pack="none", runtime="none"), TaskGroup(lambda error: None))
        self.nights = NightlyJobs(self.jobs, lambda: self.runs, UTC)
        self.ran = asyncio.Event()

        async def work() -> None:
            self.ran.set()

        self.nights.add("doctor", f"{datetime.now(UTC) - 3 * HOUR:%H:%M}", work)
        self.jobs.start()

    def due_in(self) -> timedelta:
        next_run: datetime = self.jobs.status()["doctor"].next_run
        return next_run - datetime.now(UTC)


async def test_a_missed_job_runs_once_after_a_later_start(ctx: Context) -> None:
    """Within an hour, and not again after the next start; a box that never ran before has missed nothing."""
    first = Box(ctx)
    await first.nights.schedule_missed()
    assert first.due_in() > 20 * HOUR
    assert datetime.now(UTC) - await first.runs.last("doctor") < HOUR
    first.jobs.stop()

    await first.runs.record("doctor", datetime.now(UTC) - 26 * HOUR)
    second = Box(ctx)
    await second.nights.schedule_missed()
    assert HOUR / 2 < second.due_in() <= HOUR
    assert second.jobs.run_by("doctor", datetime.now(UTC))
    await asyncio.wait_for(second.ran.wait(), 10)
    second.jobs.stop()

    third = Box(ctx)
    await third.nights.schedule_missed()
    assert third.due_in() > 20 * HOUR
    third.jobs.stop()


async def test_boxes_on_one_database_miss_their_own_nights(ctx: Context) -> None:
    """What one has done is not done for the other."""
    await JobRuns(ctx.database, "another box").record("doctor", datetime.now(UTC))
    box = Box(ctx)
    await box.runs.record("doctor", datetime.now(UTC) - 26 * HOUR)
    await box.nights.schedule_missed()
    assert box.due_in() <= HOUR
    box.jobs.stop()


async def test_boxes_of_one_name_have_their_own_nights(ctx: Context, tmp_path: Path) -> None:
    """Two boxes from one image have one name; what one has done is not done for the other."""
    user = await ctx.users.add({})
    boxes = []
    for box_id in ("a", "b"):
        settings = Settings(data_dir=tmp_path, detector="box")
        spool = Spool(tmp_path / box_id, 1_000_000, UnobservedStore())
        metrics = Metrics(version="0", pack="none", runtime="none")
        storing = Storing(settings, default_models(), spool, metrics, EventBus(), Plugins(settings.plugins))
        leases = TermLeases(ctx.database, "camera", user["_id"], "box", box_id=box_id)
        storing.session = StoreSession(ctx, user, leases, box_id)  # as if it had started
        boxes.append(Upkeep(settings, default_models(), spool, storing))
    first, second = (box.job_runs for box in boxes)
    assert first is not None and second is not None
    await first.record("doctor", datetime.now(UTC))
    assert await second.last("doctor") is None

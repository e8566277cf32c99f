"""Nightly jobs on a box that is switched off at night, with a real MongoDB."""

import asyncio
from datetime import UTC, datetime, timedelta

from daemon.runtime.jobs import Jobs
from daemon.runtime.metrics import Metrics
from daemon.runtime.nightly_jobs import NightlyJobs
from daemon.runtime.tasks import TaskGroup
from store.context import Context
from store.upkeep.job_runs import JobRuns

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

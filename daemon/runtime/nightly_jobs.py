"""Nightly jobs, and what becomes of them on a box that is switched off at night."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo

import structlog
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger

from daemon.runtime.jobs import JobFunction, Jobs
from store import StoreError
from store.upkeep.job_runs import JobRuns

log = structlog.get_logger(__name__)

AFTER_START = timedelta(hours=1)
"""Nothing is made up for sooner: a box that restarts all the time shall have the time for its cameras."""

LATE = timedelta(hours=1)
"""A job that has not begun so long after its time has missed it."""

LOOK_SECONDS = 3600.0


class NightlyJobs:
    """A job that missed its time runs in the day; MongoDB knows when it ran last.

    Looks go by the monotonic clock: that of the wall may be wrong at the start, and be set at any moment.
    """

    def __init__(self, jobs: Jobs, runs: Callable[[], JobRuns | None], zone: tzinfo) -> None:
        """`runs`: None while the store is not open. Times of the day are in this zone."""
        self._jobs = jobs
        self._runs = runs
        self._zone = zone
        self._started = time.monotonic()
        self._times: dict[str, CronTrigger] = {}

    def add(self, name: str, at: str, work: JobFunction, *, after_each_start: bool = False) -> None:
        """A job at this time of the day, such as 03:30."""

        async def run() -> None:
            if (runs := self._runs()) is not None:
                await runs.begins(name, datetime.now(UTC))
            await work()

        hour, minute = at.split(":")
        self._times[name] = nightly = CronTrigger(hour=hour, minute=minute, timezone=self._zone)
        soon = DateTrigger(datetime.now(UTC) + AFTER_START, timezone=UTC)
        self._jobs.add(name, run, OrTrigger([soon, nightly]) if after_each_start else nightly)

    async def run_missed(self, opened: asyncio.Event) -> None:
        """For ever, once the store was opened: let those run that missed their time, and all by the clock as
        it is now."""
        await opened.wait()
        while True:
            self._jobs.follow_clock()
            try:
                await self.look()
            except StoreError as error:
                log.debug("when nightly jobs ran last is not known at present", reason=str(error))
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Let those run soon that have missed their time. StoreError where MongoDB does not answer."""
        if (runs := self._runs()) is None:
            return
        now = datetime.now(UTC)
        soon = now + max(AFTER_START - timedelta(seconds=time.monotonic() - self._started), timedelta())
        for name, nightly in self._times.items():
            last = await runs.last(name)
            if last is None:  # what never ran before has missed nothing
                await runs.begins(name, now)
            elif missed(nightly, last, now) and self._jobs.no_later(name, soon):
                log.info("a nightly job missed its time and runs in the day", job=name, last_run=str(last))


def missed(nightly: CronTrigger, last: datetime, now: datetime) -> bool:
    """Whether the job has not run since it should have; so it is where it ran by a clock that was ahead."""
    due = nightly.get_next_fire_time(None, now - LATE - timedelta(days=1))
    return last > now or (due <= now - LATE and last < due)

"""Nightly jobs. A job that a box missed while it was off runs later in the day."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from datetime import time as clock_time

import structlog
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.date import DateTrigger

from daemon.runtime.jobs import JobFunction, Jobs
from daemon.runtime.nightly_trigger import NightlyTrigger
from store import StoreError
from store.upkeep.job_runs import JobRuns

log = structlog.get_logger(__name__)

AFTER_START = timedelta(hours=1)
"""Delay of missed jobs after a start, so that a box that restarts repeatedly spends its time on cameras."""

LATE = timedelta(hours=1)
"""A job that has not begun this long after its time counts as missed."""

CHECK_SECONDS = 3600.0


class NightlyJobs:
    """Runs jobs at a time of the day, and missed jobs later in the day. MongoDB stores the last runs.

    Polls on monotonic time, because wall time may jump.
    """

    def __init__(self, jobs: Jobs, runs: Callable[[], JobRuns | None], zone: tzinfo) -> None:
        """`runs` returns None while the store is not open. Times of the day are in `zone`."""
        self._jobs = jobs
        self._runs = runs
        self._zone = zone
        self._started = time.monotonic()
        self._times: dict[str, NightlyTrigger] = {}

    def add(self, name: str, at: str, work: JobFunction, *, after_each_start: bool = False) -> None:
        """Add a job at a time of the day, such as 03:30."""

        async def run() -> None:
            if (runs := self._runs()) is not None:
                await runs.record(name, datetime.now(UTC))
            await work()

        self._times[name] = nightly = NightlyTrigger(clock_time.fromisoformat(at), self._zone)
        soon = DateTrigger(datetime.now(UTC) + AFTER_START, timezone=UTC)
        self._jobs.add(name, run, OrTrigger([soon, nightly]) if after_each_start else nightly)

    async def run_missed(self, opened: asyncio.Event) -> None:
        """Schedule missed jobs and follow changes of the clock until cancelled, once the store is open."""
        await opened.wait()
        while True:
            self._jobs.follow_clock()
            try:
                await self.schedule_missed()
            except StoreError as error:
                log.debug("the last runs of nightly jobs cannot be read", reason=str(error))
            await asyncio.sleep(CHECK_SECONDS)

    async def schedule_missed(self) -> None:
        """Schedule the jobs that missed their time.

        Raises:
            StoreError: MongoDB does not answer.
        """
        if (runs := self._runs()) is None:
            return
        now = datetime.now(UTC)
        soon = now + max(AFTER_START - timedelta(seconds=time.monotonic() - self._started), timedelta())
        for name, nightly in self._times.items():
            last = await runs.last(name)
            if last is None:  # a job that never ran has not missed its time
                await runs.record(name, now)
            elif missed(nightly, last, now) and self._jobs.run_by(name, soon):
                log.info("a nightly job missed its time and runs later today", job=name, last_run=str(last))


def missed(nightly: NightlyTrigger, last: datetime, now: datetime) -> bool:
    """Whether the job has not run since its last due time; True also if the last run is in the future."""
    due = nightly.get_next_fire_time(None, now - LATE - timedelta(days=1))
    return last > now or (due <= now - LATE and last < due)

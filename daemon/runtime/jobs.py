"""Periodic jobs, run by APScheduler. Runs of one job do not overlap.

A job that fails because of its environment (MongoDB is away, the disk is full) is retried with backoff and
affects no other job. Any other error is a programming error and ends the process.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.interval import IntervalTrigger

from daemon.runtime.metrics import Metrics
from daemon.runtime.tasks import TaskGroup
from daemon.status import JobReport
from pipeline.base.backoff import Backoff
from store import StoreError
from store.mongo.driver_errors import DRIVER_ERRORS

log = structlog.get_logger(__name__)

EXPECTED = (StoreError, OSError, *DRIVER_ERRORS)
"""Errors of the environment: the store, its database or the disk."""

FIRST_PAUSE_SECONDS = 60.0
MAX_PAUSE_SECONDS = 3600.0

JobFunction = Callable[[], Awaitable[object]]


class Jobs:
    def __init__(self, metrics: Metrics, tasks: TaskGroup) -> None:
        self._metrics = metrics
        self._tasks = tasks
        self._scheduler = AsyncIOScheduler(
            timezone=UTC,
            # Missed runs (the box slept, or its clock was set) are made up for once, however late.
            job_defaults={"max_instances": 1, "coalesce": True, "misfire_grace_time": None},
        )
        self._status: dict[str, JobReport] = {}
        self._backoffs: dict[str, Backoff] = {}

    def add(self, name: str, function: JobFunction, trigger: BaseTrigger) -> None:
        self._status[name] = JobReport()
        self._backoffs[name] = Backoff(FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS)
        self._metrics.add_job(name)
        self._scheduler.add_job(self._run, trigger, id=name, args=[name, function])

    def add_every(self, minutes: float, name: str, function: JobFunction) -> None:
        # Without a zone the trigger uses the machine's, and fails if TZ is unknown to Python.
        self.add(name, function, IntervalTrigger(minutes=minutes, timezone=UTC))

    def start(self) -> None:
        self._scheduler.start()

    def stop(self) -> None:
        """Start no more jobs. Running ones are cancelled with the group's other tasks."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    def run_by(self, name: str, at: datetime) -> bool:
        """Move the job's next run forward to `at` if it is later; returns whether it was moved."""
        job = self._scheduler.get_job(name)
        if job is None or job.next_run_time <= at:
            return False
        job.modify(next_run_time=at)
        return True

    def follow_clock(self) -> None:
        """Correct next runs after the clock was set back; call periodically."""
        now = datetime.now(UTC)
        for job in self._scheduler.get_jobs():
            # The latest possible time: as if it had just run.
            self.run_by(job.id, job.trigger.get_next_fire_time(now, now))

    def status(self) -> dict[str, JobReport]:
        """By job name."""
        return {
            name: replace(status, next_run=getattr(self._scheduler.get_job(name), "next_run_time", None))
            for name, status in self._status.items()
        }

    async def _run(self, name: str, function: JobFunction) -> None:
        # A failure in the task group ends the process; the scheduler would only log it.
        work = self._tasks.start(self._work(name, function), f"job {name}")
        # A stopped scheduler cancels this wait.
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({work})

    async def _work(self, name: str, function: JobFunction) -> None:
        status = self._status[name]
        self._status[name] = replace(status, runs=status.runs + 1, last_run=datetime.now(UTC))
        try:
            with self._metrics.job(name):
                await function()
        except EXPECTED as error:
            self._failed(name, f"{type(error).__name__}: {error}")
        else:
            self._succeeded(name)

    def _failed(self, name: str, reason: str) -> None:
        """Retry the job after a pause."""
        status, pause = self._status[name], self._backoffs[name].pause_seconds()
        if not status.last_error:
            log.warning("a job failed and will be retried", job=name, reason=reason, in_seconds=round(pause))
        self._status[name] = replace(status, failures=status.failures + 1, last_error=reason)
        self.run_by(name, datetime.now(UTC) + timedelta(seconds=pause))

    def _succeeded(self, name: str) -> None:
        status = self._status[name]
        if status.last_error:
            log.info("a job works again", job=name)
        self._status[name] = replace(status, last_error="")
        self._backoffs[name].reset()

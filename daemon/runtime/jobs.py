"""Periodic jobs, by APScheduler. One run of a job at a time.

A job that the environment keeps from its work (MongoDB is away, the disk is full) is tried again after
growing pauses, and stops no other. Any other error is a fault in our code, and ends the process as everywhere
else.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.interval import IntervalTrigger

from daemon.runtime.metrics import Metrics
from daemon.runtime.tasks import TaskGroup
from pipeline.base.backoff import Backoff
from store import StoreError
from store.mongo.driver_errors import DRIVER_ERRORS

log = structlog.get_logger(__name__)

EXPECTED = (StoreError, OSError, *DRIVER_ERRORS)
"""What is no fault of ours: the store, its database or the disk cannot do something at present."""

FIRST_PAUSE_SECONDS = 60.0
LONGEST_PAUSE_SECONDS = 3600.0

JobFunction = Callable[[], Awaitable[object]]


@dataclass
class JobStatus:
    runs: int = 0
    failures: int = 0
    last_run: datetime | None = None
    last_error: str = ""


class Jobs:
    def __init__(self, metrics: Metrics, tasks: TaskGroup) -> None:
        self._metrics = metrics
        self._tasks = tasks
        self._scheduler = AsyncIOScheduler(
            timezone=UTC,
            # A run that was missed (the box slept, or its clock was set) is made up for once, however late it
            # is then, and not as often as it was missed.
            job_defaults={"max_instances": 1, "coalesce": True, "misfire_grace_time": None},
        )
        self._status: dict[str, JobStatus] = {}
        self._backoffs: dict[str, Backoff] = {}

    def add(self, name: str, function: JobFunction, trigger: BaseTrigger) -> None:
        self._status[name] = JobStatus()
        self._backoffs[name] = Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        self._metrics.add_job(name)
        self._scheduler.add_job(self._run, trigger, id=name, args=[name, function])

    def add_every(self, minutes: float, name: str, function: JobFunction) -> None:
        # A trigger of no zone asks for the machine's own, and fails where TZ holds none that Python knows.
        self.add(name, function, IntervalTrigger(minutes=minutes, timezone=UTC))

    def start(self) -> None:
        self._scheduler.start()

    def stop(self) -> None:
        """No job begins any more. Those at work are cancelled with the group's other tasks."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    def no_later(self, name: str, at: datetime) -> bool:
        """Let the job run at this time, unless it is to run before; True where that is new."""
        job = self._scheduler.get_job(name)
        if job is None or job.next_run_time <= at:
            return False
        job.modify(next_run_time=at)
        return True

    def follow_clock(self) -> None:
        """To be called now and then: where the clock was set back, jobs would wait for what it showed."""
        now = datetime.now(UTC)
        for job in self._scheduler.get_jobs():
            # As if it had just run, which is the latest that it can be.
            self.no_later(job.id, job.trigger.get_next_fire_time(now, now))

    def status(self) -> dict[str, dict[str, Any]]:
        """By job name: runs, failures, last_run, last_error, next_run."""
        shown = {}
        for name, status in self._status.items():
            job = self._scheduler.get_job(name)
            shown[name] = {**asdict(status), "next_run": job.next_run_time if job else None}
        return shown

    async def _run(self, name: str, function: JobFunction) -> None:
        # The group cancels it, and ends the process where it fails; the scheduler would only log that.
        work = self._tasks.start(self._work(name, function), f"job {name}")
        # A scheduler that is stopped cancels its own part.
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({work})

    async def _work(self, name: str, function: JobFunction) -> None:
        status = self._status[name]
        status.runs += 1
        status.last_run = datetime.now(UTC)
        try:
            with self._metrics.job(name):
                await function()
        except EXPECTED as error:
            self._failed(name, f"{type(error).__name__}: {error}")
        else:
            self._succeeded(name)

    def _failed(self, name: str, reason: str) -> None:
        """Something beyond this program is in the way: run the job again after a pause."""
        status, pause = self._status[name], self._backoffs[name].pause_seconds()
        if not status.last_error:
            log.warning("a job failed and is tried again", job=name, reason=reason, in_seconds=round(pause))
        status.failures += 1
        status.last_error = reason
        self.no_later(name, datetime.now(UTC) + timedelta(seconds=pause))

    def _succeeded(self, name: str) -> None:
        status = self._status[name]
        if status.last_error:
            log.info("a job works again", job=name)
        status.last_error = ""
        self._backoffs[name].reset()

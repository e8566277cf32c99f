"""Periodic jobs, by APScheduler. One run of a job at a time, and a failing one stops no other."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.interval import IntervalTrigger

from daemon.metrics import Metrics

log = structlog.get_logger(__name__)

JobFunction = Callable[[], Awaitable[object]]


@dataclass
class JobStatus:
    runs: int = 0
    failures: int = 0
    last_run: datetime | None = None
    last_error: str = ""


class Jobs:
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._scheduler = AsyncIOScheduler(
            timezone=UTC,
            # A run that was missed (the box slept, or its clock was set) is made up for once, however late it
            # is then, and not as often as it was missed.
            job_defaults={"max_instances": 1, "coalesce": True, "misfire_grace_time": None},
        )
        self._status: dict[str, JobStatus] = {}
        self._running: set[asyncio.Task[None]] = set()

    def add(self, name: str, function: JobFunction, trigger: BaseTrigger) -> None:
        self._status[name] = JobStatus()
        self._metrics.add_job(name)
        self._scheduler.add_job(self._run, trigger, id=name, args=[name, function])

    def add_every(self, minutes: float, name: str, function: JobFunction) -> None:
        # A trigger of no zone asks for the machine's own, and fails where TZ holds none that Python knows.
        self.add(name, function, IntervalTrigger(minutes=minutes, timezone=UTC))

    def start(self) -> None:
        self._scheduler.start()

    async def stop(self, timeout_seconds: float = 1.0) -> None:
        """Breaks off what runs, and returns when nothing does any more, or when it takes too long."""
        running = set(self._running)
        self._scheduler.shutdown(wait=False)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=timeout_seconds)

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
        task = asyncio.create_task(self._work(name, function), name=f"job {name}")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        await task

    async def _work(self, name: str, function: JobFunction) -> None:
        status = self._status[name]
        status.runs += 1
        status.last_run = datetime.now(UTC)
        try:
            with self._metrics.job(name):
                await function()
        except Exception as error:
            status.failures += 1
            status.last_error = f"{type(error).__name__}: {error}"
            log.exception("job failed", job=name)
        else:
            status.last_error = ""

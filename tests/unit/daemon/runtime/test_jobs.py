import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from apscheduler.triggers.interval import IntervalTrigger
from structlog.testing import capture_logs

from daemon.runtime.jobs import Jobs
from daemon.runtime.metrics import Metrics
from daemon.runtime.tasks import TaskGroup, exception_handler
from pipeline.base.deadline import Deadline
from store import StoreUnavailableError


def metrics() -> Metrics:
    return Metrics(version="0", pack="none", runtime="none")


def made(counted: Metrics | None = None) -> Jobs:
    return Jobs(counted or metrics(), TaskGroup(lambda error: None))


@pytest.mark.parametrize("error", [OSError("disk on fire"), StoreUnavailableError("MongoDB is on fire")])
async def test_a_job_that_the_environment_stops_is_counted_and_tried_again(error: Exception) -> None:
    """It stops no other, status and metrics say so, and it runs again long before its usual time."""
    counted = metrics()
    jobs = made(counted)
    ran = asyncio.Event()

    async def fails() -> None:
        raise error

    async def works() -> None:
        ran.set()

    jobs.add("fails", fails, IntervalTrigger(days=1))
    jobs.add("works", works, IntervalTrigger(seconds=0.12))
    jobs.start()
    jobs.run_by("fails", datetime.now(UTC))
    await asyncio.wait_for(ran.wait(), 5)
    status = jobs.status()
    jobs.stop()
    assert status["fails"].failures == 1
    assert "on fire" in status["fails"].last_error
    assert status["fails"].next_run - datetime.now(UTC) <= timedelta(minutes=1)
    assert status["works"].failures == 0
    assert counted.registry.get_sample_value("facend_job_failures_total", {"job": "fails"}) == 1
    assert counted.registry.get_sample_value("facend_job_seconds_count", {"job": "works"}) >= 1


async def test_a_job_that_keeps_failing_is_logged_when_it_begins_and_when_it_works_again() -> None:
    """Its pauses grow meanwhile."""
    jobs = made()
    failures = iter([OSError("full")] * 3)
    worked = asyncio.Event()

    async def recovers() -> None:
        for error in failures:
            raise error
        worked.set()

    jobs.add("recovers", recovers, IntervalTrigger(days=1))
    jobs.start()
    with capture_logs() as logs:
        for failed in range(1, 5):
            jobs.run_by("recovers", datetime.now(UTC))
            while jobs.status()["recovers"].runs < failed:  # noqa: ASYNC110  it offers no event
                await asyncio.sleep(0.01)
        await asyncio.wait_for(worked.wait(), 5)
    jobs.stop()
    assert [line["event"] for line in logs] == ["a job failed and will be retried", "a job works again"]
    assert jobs.status()["recovers"].last_error == ""


async def test_a_programming_error_in_a_job_ends_the_process() -> None:
    """The error that reaches the daemon names the job."""
    crashed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().set_exception_handler(exception_handler(crashed.set_result))
    jobs = made()

    async def wrong() -> None:
        raise KeyError("no such field")

    jobs.add("doctor", wrong, IntervalTrigger(seconds=0.02))
    jobs.start()
    error = await asyncio.wait_for(crashed, 5)
    jobs.stop()
    assert isinstance(error, KeyError)
    assert error.__notes__ == ["in the background task 'job doctor'"]


async def test_a_slow_job_never_overlaps_itself():
    """While a run lasts, the next one waits or is left out."""
    jobs = made()
    at_once, most, runs = 0, 0, 0
    enough = asyncio.Event()

    async def slow() -> None:
        nonlocal at_once, most, runs
        at_once, runs = at_once + 1, runs + 1
        most = max(most, at_once)
        await asyncio.sleep(0.08)
        at_once -= 1
        if runs == 3:
            enough.set()

    jobs.add("slow", slow, IntervalTrigger(seconds=0.02))
    jobs.start()
    await asyncio.wait_for(enough.wait(), 5)
    jobs.stop()
    assert most == 1


async def test_a_stop_breaks_off_a_running_job_and_waits_for_its_end():
    """What the job works on is closed after it, never under it."""
    tasks = TaskGroup(lambda error: None)
    jobs = Jobs(metrics(), tasks)
    began, ended = asyncio.Event(), asyncio.Event()

    async def long() -> None:
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.05)
            ended.set()

    jobs.add("long", long, IntervalTrigger(seconds=0.02))
    jobs.start()
    await asyncio.wait_for(began.wait(), 5)
    jobs.stop()
    tasks.cancel()
    await tasks.ended(Deadline.within(5))
    assert ended.is_set()


async def test_a_run_that_was_missed_for_a_night_is_made_up_for_once():
    """The box slept, or its clock was set ahead: however late, the job runs, and then at its usual time."""
    jobs = made()
    ran = asyncio.Event()

    async def work() -> None:
        ran.set()

    jobs.add("doctor", work, IntervalTrigger(days=1))
    jobs.start()
    jobs.run_by("doctor", datetime.now(UTC) - timedelta(hours=14))
    await asyncio.wait_for(ran.wait(), 5)
    status = jobs.status()["doctor"]
    jobs.stop()
    assert status.runs == 1
    assert timedelta() < status.next_run - datetime.now(UTC) <= timedelta(days=1)


async def test_a_clock_that_is_set_back_keeps_no_job_from_running():
    """What was to run by the clock as it was goes by the clock as it is."""
    jobs = made()

    async def work() -> None: ...

    in_a_year = datetime.now(UTC) + timedelta(days=365)
    jobs.add("facens", work, IntervalTrigger(hours=1, start_date=in_a_year))
    jobs.start()
    before = jobs.status()["facens"].next_run
    jobs.follow_clock()
    after = jobs.status()["facens"].next_run
    jobs.stop()
    assert before == in_a_year
    assert after - datetime.now(UTC) <= timedelta(hours=1)

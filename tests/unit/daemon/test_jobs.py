import asyncio
from datetime import UTC, datetime, timedelta

from apscheduler.triggers.interval import IntervalTrigger

from daemon.jobs import Jobs
from daemon.metrics import Metrics


def metrics() -> Metrics:
    return Metrics(version="0", pack="none", runtime="none")


async def test_a_failing_job_is_counted_and_stops_no_other():
    """One job raises at every run; the other goes on, and status and metrics say so."""
    counted = metrics()
    jobs = Jobs(counted)
    ran = asyncio.Event()

    async def fails() -> None:
        raise RuntimeError("disk on fire")

    async def works() -> None:
        ran.set()

    jobs.add("fails", fails, IntervalTrigger(seconds=0.05))
    jobs.add("works", works, IntervalTrigger(seconds=0.12))
    jobs.start()
    await asyncio.wait_for(ran.wait(), 5)
    await jobs.stop()
    assert jobs.status()["fails"]["failures"] >= 1
    assert "disk on fire" in jobs.status()["fails"]["last_error"]
    assert jobs.status()["works"]["failures"] == 0
    assert counted.registry.get_sample_value("facend_job_failures_total", {"job": "fails"}) >= 1
    assert counted.registry.get_sample_value("facend_job_seconds_count", {"job": "works"}) >= 1


async def test_a_slow_job_never_overlaps_itself():
    """While a run lasts, the next one waits or is left out."""
    jobs = Jobs(metrics())
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
    await jobs.stop()
    assert most == 1


async def test_a_stop_breaks_off_a_running_job_and_waits_for_its_end():
    """What the job works on is closed after it, never under it."""
    jobs = Jobs(metrics())
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
    await jobs.stop()
    assert ended.is_set()


async def test_a_run_that_was_missed_for_a_night_is_made_up_for_once():
    """The box slept, or its clock was set ahead: however late, the job runs, and then at its usual time."""
    jobs = Jobs(metrics())
    ran = asyncio.Event()

    async def work() -> None:
        ran.set()

    jobs.add("doctor", work, IntervalTrigger(days=1))
    jobs.start()
    jobs.no_later("doctor", datetime.now(UTC) - timedelta(hours=14))
    await asyncio.wait_for(ran.wait(), 5)
    status = jobs.status()["doctor"]
    await jobs.stop()
    assert status["runs"] == 1
    assert timedelta() < status["next_run"] - datetime.now(UTC) <= timedelta(days=1)


async def test_a_clock_that_is_set_back_keeps_no_job_from_running():
    """What was to run by the clock as it was goes by the clock as it is."""
    jobs = Jobs(metrics())

    async def work() -> None: ...

    in_a_year = datetime.now(UTC) + timedelta(days=365)
    jobs.add("facens", work, IntervalTrigger(hours=1, start_date=in_a_year))
    jobs.start()
    before = jobs.status()["facens"]["next_run"]
    jobs.follow_clock()
    after = jobs.status()["facens"]["next_run"]
    await jobs.stop()
    assert before == in_a_year
    assert after - datetime.now(UTC) <= timedelta(hours=1)

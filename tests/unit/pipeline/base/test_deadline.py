import asyncio
import time

import pytest

from pipeline.base.deadline import Deadline


def test_each_step_gets_the_time_that_later_steps_do_not_need() -> None:
    """Relative to one point in time, so that a slow step takes time only from itself."""
    deadline = Deadline.within(100)
    assert 99 < deadline.remaining() <= 100
    assert 69 < deadline.leaving(30).remaining() <= 70
    assert deadline.leaving(200).remaining() == 0
    assert 9 < deadline.at_most(10).remaining() <= 10
    assert deadline.at_most(1000) == deadline


async def test_wait_returns_whether_work_ended_in_time() -> None:
    """Its exception propagates."""
    assert await Deadline.within(20).wait(asyncio.sleep(0.01))

    async def fails() -> None:
        raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        await Deadline.within(20).wait(fails())


async def test_work_that_ignores_its_cancellation_is_abandoned() -> None:
    """It is cancelled, and left behind."""
    told = asyncio.Event()
    release = asyncio.Event()

    async def clings() -> None:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            told.set()
            await release.wait()

    assert not await Deadline.within(0.05).wait(clings())
    await asyncio.wait_for(told.wait(), 5)
    release.set()


async def test_cancelling_the_wait_cancels_the_work() -> None:
    """Nothing goes on that nobody waits for."""
    work = asyncio.ensure_future(asyncio.sleep(600))
    waiting = asyncio.create_task(Deadline.within(600).wait(work))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.wait({work})
    assert work.cancelled()


def test_a_deadline_does_not_depend_on_wall_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Setting the clock during the shutdown does not change the remaining time."""
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert Deadline.within(50).remaining() > 49

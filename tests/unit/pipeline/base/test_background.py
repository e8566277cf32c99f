import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from structlog.testing import capture_logs

from pipeline.base.background import in_thread, supervised, wait_at_most


async def test_a_failed_task_is_reported_at_once_without_being_awaited() -> None:
    """With its name, even while a reference to it exists."""
    seen: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: seen.set_result(context))

    async def fails() -> None:
        raise KeyError("gone")

    task = supervised(fails(), "looking after it")
    context = await asyncio.wait_for(seen, 5)
    assert context["supervised"] == "looking after it"
    assert context["exception"] is task.exception()


async def test_a_failure_during_cancellation_is_only_logged() -> None:
    """An interrupted driver may raise anything."""
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))

    async def fails() -> None:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError as error:
            raise AttributeError("no session any more") from error

    task = supervised(fails(), "changes")
    await asyncio.sleep(0)
    task.cancel()
    with capture_logs() as logs:
        await asyncio.wait({task})
        await asyncio.sleep(0)
    assert not reported
    assert [line["task"] for line in logs] == ["changes"]


async def test_in_thread_does_not_wait_for_the_pool() -> None:
    """All threads of the pool hang."""
    release = threading.Event()
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    stuck = asyncio.get_running_loop().run_in_executor(None, release.wait)
    assert (await asyncio.wait_for(in_thread(threading.current_thread, "own"), 5)).name == "own"
    release.set()
    await stuck


async def test_an_exception_in_a_thread_is_raised_by_the_await() -> None:
    """As of any other call."""

    def fails() -> None:
        raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        await in_thread(fails, "fails")


async def test_a_wait_ends_with_its_event_or_its_time() -> None:
    """The result says which."""
    event = asyncio.Event()
    assert not await wait_at_most(event, 0.01)
    event.set()
    assert await wait_at_most(event, None)


@pytest.mark.parametrize("turns", range(4))
async def test_a_cancellation_beside_the_event_is_not_ignored(turns: int) -> None:
    """However many turns of the loop lie between both."""
    event = asyncio.Event()

    async def wait() -> None:
        await wait_at_most(event, 10)
        await asyncio.sleep(10)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0.01)
    event.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 5)

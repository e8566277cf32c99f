import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from structlog.testing import capture_logs

from pipeline.base.background import in_thread, supervised


async def test_a_task_that_fails_is_reported_at_once_although_nobody_awaits_it() -> None:
    """By its name, while a reference to it is still held."""
    seen: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: seen.set_result(context))

    async def fails() -> None:
        raise KeyError("gone")

    task = supervised(fails(), "looking after it")
    context = await asyncio.wait_for(seen, 5)
    assert context["supervised"] == "looking after it"
    assert context["exception"] is task.exception()


async def test_a_task_that_fails_while_it_is_cancelled_is_only_logged() -> None:
    """A driver that is interrupted half-way is no fault of ours, and no secret either."""
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


async def test_a_thread_of_its_own_waits_for_no_place_in_the_pool() -> None:
    """All of the loop's threads hang."""
    release = threading.Event()
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    stuck = asyncio.get_running_loop().run_in_executor(None, release.wait)
    assert (await asyncio.wait_for(in_thread(threading.current_thread, "own"), 5)).name == "own"
    release.set()
    await stuck


async def test_an_error_in_a_thread_is_raised_where_it_is_awaited() -> None:
    """As of any other call."""

    def fails() -> None:
        raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        await in_thread(fails, "fails")

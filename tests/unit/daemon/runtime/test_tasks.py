"""No task of the daemon ends unnoticed."""

import asyncio

import pytest
from structlog.testing import capture_logs

from daemon.plugins.calls import Caller
from daemon.runtime.event_loop import RUNNING_PLUGIN
from daemon.runtime.shutdown_limit import side_by_side
from daemon.runtime.tasks import TaskGroup, exception_handler
from pipeline.base.deadline import Deadline

WRONG = Deadline("no number")  # type: ignore[arg-type]  # our own code fails with it


@pytest.fixture
async def crash() -> "asyncio.Future[BaseException]":
    """The first fault that ends the process."""
    loop = asyncio.get_running_loop()
    crashed: asyncio.Future[BaseException] = loop.create_future()
    loop.set_exception_handler(
        exception_handler(lambda error: None if crashed.done() else crashed.set_result(error))
    )
    return crashed


async def fails() -> None:
    raise KeyError("no such field")


async def test_a_task_that_fails_ends_the_process_and_is_named(crash) -> None:
    """The traceback has the task's name."""
    group = TaskGroup(crash.set_result)
    group.start(fails(), "looking after the cameras")
    error = await asyncio.wait_for(crash, 5)
    assert isinstance(error, KeyError)
    assert error.__notes__ == ["in the background task 'looking after the cameras'"]


async def test_an_endless_task_that_ends_ends_the_process(crash) -> None:
    """Its work would be left undone."""
    group = TaskGroup(crash.set_result)
    group.start(asyncio.sleep(0), "store health", endless=True)
    assert "'store health' returned" in str(await asyncio.wait_for(crash, 5))


async def test_a_task_that_has_done_its_work_ends_nothing(crash) -> None:
    """Only endless tasks must go on."""
    group = TaskGroup(crash.set_result)
    await group.start(asyncio.sleep(0), "start")
    await asyncio.sleep(0)
    assert not crash.done()


async def test_cancelled_tasks_are_waited_for_and_the_late_ones_named(crash) -> None:
    """Endless ones, too, end without a word when they are cancelled."""
    group = TaskGroup(crash.set_result)
    release = asyncio.Event()

    async def clings() -> None:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            await release.wait()

    group.start(asyncio.sleep(600), "good", endless=True)
    clinging = group.start(clings(), "clinging")
    await asyncio.sleep(0)
    group.cancel()
    with capture_logs() as logs:
        await group.ended(Deadline.within(0.05))
    assert [line["task"] for line in logs] == ["clinging"]
    release.set()
    await clinging
    assert not crash.done()


async def test_a_callback_of_ours_that_fails_ends_the_process(crash) -> None:
    """A scheduler whose timer fails would never start a job again."""
    asyncio.get_running_loop().call_soon(WRONG.remaining)
    assert isinstance(await asyncio.wait_for(crash, 5), TypeError)


async def test_what_a_plugin_does_in_the_background_ends_nothing(crash, caplog) -> None:
    """A callback and a task in a plugin's context are its own, and are logged."""

    async def plugin() -> None:
        RUNNING_PLUGIN.set(Caller("notes", lambda where, error: None))
        asyncio.get_running_loop().call_soon(WRONG.remaining)
        TaskGroup(crash.set_result).start(fails(), "of a plugin")

    await asyncio.create_task(plugin())
    await asyncio.sleep(0.01)
    assert not crash.done()
    assert "KeyError" in caplog.text


async def test_what_a_library_does_in_the_background_ends_nothing(crash, caplog) -> None:
    """What comes over the network may make a library's callback fail."""
    asyncio.get_running_loop().call_soon("no number".index, "x")
    await asyncio.sleep(0.01)
    assert not crash.done()
    assert "ValueError" in caplog.text


async def test_steps_of_a_shutdown_share_their_time(crash) -> None:
    """A step that hangs is named, and takes no time from the others."""
    worked = asyncio.Event()

    async def works() -> None:
        worked.set()

    with capture_logs() as logs:
        await side_by_side(Deadline.within(0.05), hangs=asyncio.sleep(600), works=works())
    assert worked.is_set()
    assert [line["step"] for line in logs] == ["hangs"]

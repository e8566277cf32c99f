"""Supervised background tasks, and threads that do not delay the end of the process."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

import structlog

log = structlog.get_logger()

T = TypeVar("T")


def supervised(work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
    """Start a task whose failure is passed to the event loop's exception handler at once, awaited or not.

    The handler's context has the task's name under the key `supervised`; the daemon ends the process then. A
    failure during cancellation is only logged.
    """
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_report)
    return task


def _report(task: asyncio.Task[Any]) -> None:
    if task.cancelled() or (error := task.exception()) is None:
        return
    name = task.get_name()
    if task.cancelling():  # an interrupted driver call may raise anything
        log.warning("a cancelled task failed instead of ending", task=name, exc_info=error)
        return
    context = {"message": f"the task {name!r} failed", "exception": error, "supervised": name}
    task.get_loop().call_exception_handler(context)


async def wait_at_most(event: asyncio.Event, seconds: float | None) -> bool:
    """Wait until the event is set; False if it is not within `seconds` (None: no limit).

    `asyncio.wait_for` of Python 3.11 ignores a cancellation that arrives together with the event.
    """
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


async def in_thread(work: Callable[[], T], name: str) -> T:
    """Run `work` in a new daemon thread.

    Unlike `asyncio.to_thread`, it does not wait for the loop's thread pool, and a thread that hangs does not
    delay the end of the process.
    """
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()  # a late result after cancellation is not an error

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001  raised where it is awaited
            future.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await asyncio.wrap_future(future)

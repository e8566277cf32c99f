"""Work in the background whose end is always seen, and threads that keep nothing from ending."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

import structlog

log = structlog.get_logger()

T = TypeVar("T")


def supervised(work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
    """A task whose failure the event loop's exception handler gets at once, even if nobody awaits the task.

    The handler's context has the task's name under `supervised`. The daemon ends the process then. A task
    that fails while it is being cancelled is only logged.
    """
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_report)
    return task


def _report(task: asyncio.Task[Any]) -> None:
    if task.cancelled() or (error := task.exception()) is None:
        return
    name = task.get_name()
    if task.cancelling():  # a driver that is interrupted in the middle may fail in many ways
        log.warning("a cancelled task failed instead of ending", task=name, exc_info=error)
        return
    context = {"message": f"the task {name!r} failed", "exception": error, "supervised": name}
    task.get_loop().call_exception_handler(context)


async def in_thread(work: Callable[[], T], name: str) -> T:
    """Runs `work` in a thread of its own.

    Unlike `asyncio.to_thread`, it starts even if every thread of the loop's pool hangs, and a thread that
    hangs does not keep the process from ending.
    """
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()  # the caller may be cancelled; a late result is no error

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001  raised where it is awaited
            future.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await asyncio.wrap_future(future)

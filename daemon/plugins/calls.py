"""Calls functions of plugins with a deadline, each in its own task or thread, and contains their
exceptions."""

import asyncio
import contextlib
import contextvars
import inspect
import math
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog

from daemon.plugins.errors import OverdueFault, PluginFault, describe
from daemon.runtime.event_loop import RUNNING_PLUGIN

CallResult = tuple[Any, BaseException | None]
"""The return value of a plugin's function, and the exception that it raised."""

POLLS_PER_DEADLINE = 20
"""Number of checks before a deadline has passed."""
MAX_POLL_SECONDS = 0.25

MAX_THREADS = 64
"""Pool size of one plugin; large, because hanging threads are never freed."""


class Caller:
    """Calls functions of one plugin; their log lines have the plugin's name.

    Coroutine functions run on the event loop, others in a new daemon thread: a hanging thread of the loop's
    pool would prevent the process from ending.
    """

    def __init__(self, plugin: str, failed: Callable[[str, BaseException], None]) -> None:
        """`failed(where, error)` is called for failures in the background that no caller waits for."""
        self._plugin = plugin
        self.failed = failed
        self.threads = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix=f"plugin {plugin}")
        """Executor for the plugin's use of the loop's default executor, such as `asyncio.to_thread`."""
        # The loop keeps only weak references to tasks, and an abandoned task may take a while to end.
        self._tasks: set[asyncio.Task[CallResult]] = set()

    async def call(self, function: Callable[..., Any], *arguments: object, seconds: float = math.inf) -> Any:  # noqa: ANN401 - what a plugin returns
        """Call the function; its return value and its exceptions are passed on.

        Raises:
            OverdueFault: the function did not end in time. Time while the loop is blocked does not count.
            PluginFault: the function raised a BaseException such as SystemExit, which would end the daemon.
        """
        task = asyncio.create_task(self._run(function, arguments), name=f"plugin {self._plugin}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            done = await _ended_within(task, seconds)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if not done:
            # Not awaited, because the task may ignore the cancellation.
            task.cancel()
            raise OverdueFault(f"did not end within {seconds:g} s")
        value, error = task.result()
        if error is None:
            return value
        if isinstance(error, Exception):
            raise error
        raise PluginFault(describe(error)) from error

    async def _run(self, function: Callable[..., Any], arguments: tuple[object, ...]) -> CallResult:
        structlog.contextvars.bind_contextvars(plugin=self._plugin)
        RUNNING_PLUGIN.set(self)
        try:
            if inspect.iscoroutinefunction(function):
                return await function(*arguments), None
            value = await _in_thread(function, arguments, self._plugin)
            return (await value if inspect.isawaitable(value) else value), None
        except BaseException as error:  # noqa: BLE001 - handed over; a SystemExit out of a task would end the loop
            return None, error


async def _ended_within(task: asyncio.Task[CallResult], seconds: float) -> bool:
    """Wait for the task in small steps, so that time in which the loop is blocked does not count."""
    step = min(seconds / POLLS_PER_DEADLINE, MAX_POLL_SECONDS)
    while seconds > step / 2:  # the last one may be off by a rounding
        await asyncio.wait({task}, timeout=step)
        if task.done():
            return True
        seconds -= step
    return False


async def _in_thread(function: Callable[..., Any], arguments: tuple[object, ...], plugin: str) -> Any:  # noqa: ANN401 - what a plugin returns
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[CallResult] = loop.create_future()
    context = contextvars.copy_context()

    def settle(outcome: CallResult) -> None:
        if not answer.done():
            answer.set_result(outcome)

    def work() -> None:
        outcome: CallResult
        try:
            outcome = context.run(function, *arguments), None
        except BaseException as error:  # noqa: BLE001 - handed over
            outcome = None, error
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, outcome)

    threading.Thread(target=work, name=f"plugin {plugin}", daemon=True).start()
    value, error = await answer
    if error is not None:
        raise error
    return value

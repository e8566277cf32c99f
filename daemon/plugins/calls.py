"""Calling what others wrote: with a deadline, away from our own task, and whatever it raises."""

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

from daemon.plugins.errors import OverdueFault, PluginFault, described
from daemon.runtime.loop import RUNNING_PLUGIN

Outcome = tuple[Any, BaseException | None]
"""What a plugin's function returned, and what it raised instead."""

GLANCES = 20
"""So often a deadline is looked at before it has passed."""
LONGEST_GLANCE_SECONDS = 0.25

MOST_THREADS = 64
"""Of one plugin in a pool; many, because those that hang are lost for it."""


class Caller:
    """Calls functions of one plugin; its log lines name the plugin.

    Coroutine functions run on the event loop. Others run in a thread of their own, which does not keep the
    process from ending: a thread of the loop's pool that hangs would.
    """

    def __init__(self, plugin: str, failed: Callable[[str, BaseException], None]) -> None:
        """`failed(where, error)` is told of what fails in the background, where nobody waits for it."""
        self._plugin = plugin
        self.failed = failed
        self.threads = ThreadPoolExecutor(MOST_THREADS, thread_name_prefix=f"plugin {plugin}")
        """For what the plugin sends to the loop's default executor, as `asyncio.to_thread` does."""
        # The loop itself keeps no hold of its tasks, and one that we gave up may take a while to end.
        self._tasks: set[asyncio.Task[Outcome]] = set()

    async def call(self, function: Callable[..., Any], *arguments: object, seconds: float = math.inf) -> Any:  # noqa: ANN401 - what a plugin returns
        """What the function returns, or raises.

        OverdueFault where it does not end in time; while somebody holds up the loop no time passes.
        PluginFault where it raises what is no Exception, such as SystemExit, which would end the daemon.
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
            # Not awaited: it may refuse to be cancelled.
            task.cancel()
            raise OverdueFault(f"did not end within {seconds:g} s")
        value, error = task.result()
        if error is None:
            return value
        if isinstance(error, Exception):
            raise error
        raise PluginFault(described(error)) from error

    async def _run(self, function: Callable[..., Any], arguments: tuple[object, ...]) -> Outcome:
        structlog.contextvars.bind_contextvars(plugin=self._plugin)
        RUNNING_PLUGIN.set(self)
        try:
            if inspect.iscoroutinefunction(function):
                return await function(*arguments), None
            value = await _in_thread(function, arguments, self._plugin)
            return (await value if inspect.isawaitable(value) else value), None
        except BaseException as error:  # noqa: BLE001 - handed over; a SystemExit out of a task would end the loop
            return None, error


async def _ended_within(task: asyncio.Task[Outcome], seconds: float) -> bool:
    """Waits for the task, in small steps: a step that the loop notices late counts only as long as it is."""
    step = min(seconds / GLANCES, LONGEST_GLANCE_SECONDS)
    while seconds > step / 2:  # the last one may be off by a rounding
        await asyncio.wait({task}, timeout=step)
        if task.done():
            return True
        seconds -= step
    return False


async def _in_thread(function: Callable[..., Any], arguments: tuple[object, ...], plugin: str) -> Any:  # noqa: ANN401 - what a plugin returns
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Outcome] = loop.create_future()
    context = contextvars.copy_context()

    def settle(outcome: Outcome) -> None:
        if not answer.done():
            answer.set_result(outcome)

    def work() -> None:
        outcome: Outcome
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

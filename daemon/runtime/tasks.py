"""The group of the daemon's background tasks, in which no failure is unnoticed."""

import asyncio
import traceback
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from daemon.runtime.event_loop import RUNNING_PLUGIN
from pipeline.base.background import supervised
from pipeline.base.deadline import Deadline

log = structlog.get_logger(__name__)

OWN_CODE = ("apscheduler", "cameras", "daemon", "pipeline", "store")
"""Packages whose failing callbacks end the process; failures in network libraries are only logged."""


class TaskGroup:
    """Tasks that are cancelled together.

    A task that fails ends the process through `exception_handler`, and so does an endless task that returns.
    """

    def __init__(self, on_crash: Callable[[BaseException], None]) -> None:
        self._on_crash = on_crash
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(
        self, work: Coroutine[Any, Any, object], name: str, *, endless: bool = False
    ) -> asyncio.Task[Any]:
        """Start a task. `endless`: it runs until it is cancelled."""
        task = supervised(work, name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if endless:
            task.add_done_callback(self._ended)
        return task

    def cancel(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def ended(self, deadline: Deadline) -> None:
        """Wait for cancelled tasks to end. A task that does not end in time is abandoned and logged."""
        if tasks := set(self._tasks):
            _, late = await asyncio.wait(tasks, timeout=deadline.remaining())
            for task in late:
                log.warning("a task does not end and is abandoned", task=task.get_name())

    def _ended(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and task.exception() is None:
            self._on_crash(
                RuntimeError(f"the task {task.get_name()!r} returned, but it should run until cancelled")
            )


def exception_handler(
    on_crash: Callable[[BaseException], None],
) -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]:
    """The event loop's exception handler: passes errors in Facend's tasks and callbacks to `on_crash`.

    Errors of plugins and libraries are logged.
    """

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if error is None or RUNNING_PLUGIN.get() is not None or _of_plugin(context):
            loop.default_exception_handler(context)
        elif "supervised" in context:
            error.add_note(f"in the background task {context['supervised']!r}")
            on_crash(error)
        elif "handle" in context and _in_own_code(error):
            error.add_note("in a callback of the event loop")
            on_crash(error)
        else:
            loop.default_exception_handler(context)

    return handle


def _of_plugin(context: dict[str, Any]) -> bool:
    variables = getattr(context.get("handle"), "_context", None)
    return variables is not None and variables.get(RUNNING_PLUGIN) is not None


def _in_own_code(error: BaseException) -> bool:
    modules = (frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__))
    return any(module.partition(".")[0] in OWN_CODE for module in modules)

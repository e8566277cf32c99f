"""The daemon's event loop. Plugins share it, but cannot stop it, delay its end, or exhaust its threads."""

import asyncio
import threading
import traceback
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import Context, ContextVar
from typing import Any, ParamSpec, Protocol, TypeVar

import structlog

from daemon.runtime.signals import Terminated

log = structlog.get_logger(__name__)

T = TypeVar("T")
P = ParamSpec("P")

TASKS_SECONDS = 0.3
"""Time at exit for cancelled tasks to end; the daemon's own tasks have ended before."""
THREADS_SECONDS = 0.3
"""Time at exit for threads of the pool to end."""
LAG_INTERVAL_SECONDS = 0.25


def run(main: Coroutine[Any, Any, T]) -> T:
    """Like asyncio.run, but a plugin can neither stop the loop with SystemExit nor delay its end.

    Tasks that ignore their cancellation, and hanging threads, may remain: `daemon.runtime.signals.leave` ends
    the process despite them, and `daemon.runtime.shutdown_limit.ShutdownLimit` even if code blocks the loop.
    """
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    pool = DefaultExecutor()
    loop.set_default_executor(pool)
    try:
        return _until_done(loop, loop.create_task(main))
    finally:
        _end_tasks(loop)
        _end_threads(pool)
        asyncio.set_event_loop(None)
        loop.close()


class RunningPlugin(Protocol):
    """The plugin whose code is running."""

    @property
    def threads(self) -> ThreadPoolExecutor:
        """Executor for the plugin's use of the loop's default executor, such as `asyncio.to_thread`."""
        ...

    @property
    def failed(self) -> Callable[[str, BaseException], None]:
        """Called with a place and an error that no caller waits for."""
        ...


RUNNING_PLUGIN: ContextVar[RunningPlugin | None] = ContextVar("running plugin", default=None)
"""None in the daemon's own code. Tasks, callbacks and pool threads that a plugin starts inherit the value."""


class DefaultExecutor(ThreadPoolExecutor):
    """The loop's default executor. Work of a plugin runs in the plugin's own threads.

    So hanging threads of one plugin do not exhaust the threads of the daemon and of other plugins.
    """

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        caller = RUNNING_PLUGIN.get()
        if caller is None:
            return super().submit(fn, *args, **kwargs)
        return caller.threads.submit(fn, *args, **kwargs)


def _until_done(loop: asyncio.AbstractEventLoop, task: asyncio.Task[T]) -> T:
    """Run the loop until the task has ended, despite SystemExit in callbacks and other tasks.

    A SystemExit or KeyboardInterrupt of a callback leaves the loop consistent: it continues with the next
    callback when it is run again.
    """
    while True:
        try:
            return loop.run_until_complete(task)
        except (SystemExit, KeyboardInterrupt) as error:
            if task.done() or not _contained(error):
                raise


def _contained(error: BaseException) -> bool:
    """Report a plugin that tried to end the process. Returns False if the process is to end."""
    if (caller := _responsible_plugin(error)) is not None:
        caller.failed("background", error)
        return True
    if isinstance(error, Terminated | KeyboardInterrupt):
        return False
    # Probably a plugin's thread, whose callbacks have no plugin context; the daemon never exits on the loop.
    log.error("something on the event loop tried to end the process", exc_info=error)
    return True


def _responsible_plugin(error: BaseException) -> RunningPlugin | None:
    """The plugin in whose context the failed callback ran."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        handle = frame.f_locals.get("self")
        if isinstance(handle, asyncio.Handle):
            context: Context | None = getattr(handle, "_context", None)
            return context.get(RUNNING_PLUGIN) if context is not None else None
    return None


def _end_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel the remaining tasks, and wait for `TASKS_SECONDS`."""
    if left := asyncio.all_tasks(loop):
        for task in left:
            task.cancel()
        _until_done(loop, loop.create_task(_wait_for(left)))
    _until_done(loop, loop.create_task(_close_generators(loop)))


async def _wait_for(tasks: set[asyncio.Task[Any]]) -> None:
    _, pending = await asyncio.wait(tasks, timeout=TASKS_SECONDS)
    for task in pending:
        log.warning("a task does not end and is abandoned", task=task.get_name())


async def _close_generators(loop: asyncio.AbstractEventLoop) -> None:
    ending = asyncio.create_task(loop.shutdown_asyncgens())
    await asyncio.wait({ending}, timeout=TASKS_SECONDS)


def _end_threads(pool: ThreadPoolExecutor) -> None:
    """Shut the pool down within `THREADS_SECONDS`; its own `shutdown` has no timeout."""
    ending = threading.Thread(target=pool.shutdown, name="ending threads", daemon=True)
    ending.start()
    ending.join(THREADS_SECONDS)
    if ending.is_alive():
        log.warning("a thread does not end and is abandoned")


async def measure_lag(
    observe: Callable[[float], None], interval_seconds: float = LAG_INTERVAL_SECONDS
) -> None:
    """Pass the delay of a timer, in seconds, to `observe` at each interval until cancelled.

    Code that blocks the loop delays all timers.
    """
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + interval_seconds
        await asyncio.sleep(interval_seconds)
        observe(max(0.0, loop.time() - due))

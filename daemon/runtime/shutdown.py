"""The shutdown: one deadline for all steps, and an end for a process that misses it."""

import asyncio
import faulthandler
import os
import threading
import time
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, NoReturn

import structlog

from daemon.runtime.signals import STDERR, end_within
from pipeline.base.background import supervised
from pipeline.base.deadline import Deadline

log = structlog.get_logger(__name__)

STOP_SECONDS = 7.5
"""For all steps of an orderly shutdown together."""
LATE_SECONDS = 8.5
"""After this long the process is ended although steps are not over."""
FORCED_SECONDS = 9.5
"""After this long it is ended by code that needs no interpreter."""


class ShutdownLimit:
    """A signal handler: the first signal, or the first call, begins the shutdown and limits its time.

    All steps of the shutdown share one deadline. A process that still runs after `LATE_SECONDS`, because
    something blocks the event loop, is ended by a thread: everything that was accepted is in the spool, so
    that is no failure. Only code that never releases the interpreter needs `end_within`.
    """

    def __init__(
        self, on_begin: Callable[[], None] = lambda: None, status: Callable[[], int] = lambda: 0
    ) -> None:
        """`on_begin` runs inside the signal handler. `status` gives the exit status of a late end."""
        self._on_begin = on_begin
        self._status = status
        self._asked = threading.Event()
        self._deadline: Deadline | None = None

    def enforce(self) -> None:
        """From now on a process that is late is ended."""
        # Not started by the signal handler, which must not take the locks that starting a thread needs.
        threading.Thread(target=self._end_late, name="shutdown limit", daemon=True).start()

    @property
    def deadline(self) -> Deadline:
        """By when all steps of the shutdown must be over; begins now if it has not begun yet."""
        self()
        assert self._deadline is not None  # noqa: S101  the line above has set it
        return self._deadline

    def __call__(self, *_: object) -> None:
        if self._deadline is None:
            self._deadline = Deadline.within(STOP_SECONDS)
            end_within(FORCED_SECONDS)
            self._on_begin()
            self._asked.set()

    @classmethod
    def runs_in(cls, frame: FrameType) -> bool:
        """Whether this is its frame: on top of whatever the signal came into, which has no part in it."""
        return frame.f_code is cls.__call__.__code__

    def _end_late(self) -> NoReturn:
        self._asked.wait()
        time.sleep(LATE_SECONDS)
        log.error("the shutdown took too long and is broken off; accepted sightings are in the spool")
        faulthandler.dump_traceback(file=STDERR, all_threads=True)
        os._exit(self._status())


async def side_by_side(deadline: Deadline, **steps: Coroutine[Any, Any, object]) -> None:
    """Runs the steps of a shutdown at the same time. A step that is late is cancelled and logged."""
    tasks = [supervised(work, name.replace("_", " ")) for name, work in steps.items()]
    _, late = await asyncio.wait(tasks, timeout=deadline.remaining())
    for task in late:
        task.cancel()
        log.warning("a step of the shutdown took too long and is left behind", step=task.get_name())

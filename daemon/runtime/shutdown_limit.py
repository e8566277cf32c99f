"""One deadline for all steps of the shutdown, and a forced end for a process that misses it."""

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
"""Deadline of an orderly shutdown, all steps together."""
LATE_SECONDS = 8.5
"""Time after which a thread ends the process, even if steps are unfinished."""
FORCED_SECONDS = 9.5
"""Time after which the process is ended by C code, which does not need the interpreter."""


class ShutdownLimit:
    """Signal handler: the first signal, or the first call, begins the shutdown and limits its time.

    All steps of the shutdown share one deadline. If something blocks the event loop, a thread ends the
    process after `LATE_SECONDS`. That is not a failure, because accepted sightings are in the spool.
    `end_within` ends the process if code never releases the interpreter.
    """

    def __init__(
        self, on_begin: Callable[[], None] = lambda: None, status: Callable[[], int] = lambda: 0
    ) -> None:
        """`on_begin` runs inside the signal handler. `status` returns the exit status of a forced end."""
        self._on_begin = on_begin
        self._status = status
        self._begun = threading.Event()
        self._deadline: Deadline | None = None

    def enforce(self) -> None:
        """Start the thread that ends a late process."""
        # Starting a thread takes locks, which a signal handler must not.
        threading.Thread(target=self._end_late, name="shutdown limit", daemon=True).start()

    @property
    def deadline(self) -> Deadline:
        """Deadline of all steps; begins the shutdown if it has not begun."""
        self()
        assert self._deadline is not None  # noqa: S101  the line above has set it
        return self._deadline

    def __call__(self, *_: object) -> None:
        if self._deadline is None:
            self._deadline = Deadline.within(STOP_SECONDS)
            end_within(FORCED_SECONDS)
            self._on_begin()
            self._begun.set()

    @classmethod
    def runs_in(cls, frame: FrameType) -> bool:
        """Whether this is the handler's own frame, on top of the code that the signal interrupted."""
        return frame.f_code is cls.__call__.__code__

    def _end_late(self) -> NoReturn:
        self._begun.wait()
        time.sleep(LATE_SECONDS)
        log.error("the shutdown took too long and is aborted; accepted sightings are in the spool")
        faulthandler.dump_traceback(file=STDERR, all_threads=True)
        os._exit(self._status())


async def side_by_side(deadline: Deadline, **steps: Coroutine[Any, Any, object]) -> None:
    """Run the steps of a shutdown concurrently. A late step is cancelled and logged."""
    tasks = [supervised(work, name.replace("_", " ")) for name, work in steps.items()]
    _, late = await asyncio.wait(tasks, timeout=deadline.remaining())
    for task in late:
        task.cancel()
        log.warning("a step of the shutdown took too long and is abandoned", step=task.get_name())

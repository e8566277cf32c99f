"""Plugins' coroutines run on the daemon's event loop; one that blocks there is noticed, named and broken off.

A thread asks the loop for a sign of life. Where none comes in time, it looks at what the loop's
thread is doing: if a plugin's code is in the stack, a signal makes Python raise HeldUpError
there, out of a sleep or a read too. The daemon's own code is never broken off.
"""

import signal
import sys
import threading
from asyncio import AbstractEventLoop
from collections.abc import Mapping
from types import FrameType

import structlog

from daemon.plugins.errors import HeldUpError
from daemon.runtime.shutdown import ShutdownLimit

log = structlog.get_logger(__name__)

SIGNAL = signal.SIGUSR2
LOOK_SECONDS = 1.0
GLANCE_SECONDS = 0.1
HURRY_SECONDS = 0.5
"""The limit once the process is to end."""


class LoopWatch:
    """Call `start` and `stop` on the loop. A loop that is not on the main thread is only named."""

    def __init__(self, limit_seconds: float) -> None:
        self._limit = limit_seconds
        self._files: Mapping[str, str] = {}
        self._sign = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, loop: AbstractEventLoop, files: Mapping[str, str]) -> None:
        """`files`: the plugins' names by the paths of their files."""
        self._files = files
        ident = threading.get_ident()
        if threading.current_thread() is threading.main_thread():
            signal.signal(SIGNAL, self._interrupt)
        self._thread = threading.Thread(
            target=self._run, args=(loop, ident), name="plugins' loop watch", daemon=True
        )
        self._thread.start()

    def hurry(self) -> None:
        """Breaks plugins off sooner from now on. Safe in a signal handler."""
        self._limit = min(self._limit, HURRY_SECONDS)

    def stop(self) -> None:
        self._stopping.set()
        self._sign.set()  # the loop, which is here, gives none while it waits for the thread
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            if threading.current_thread() is threading.main_thread():
                # Not the default, which would end the process: a signal may still be on its way.
                signal.signal(SIGNAL, signal.SIG_IGN)

    def _run(self, loop: AbstractEventLoop, ident: int) -> None:
        while not self._stopping.wait(min(LOOK_SECONDS, self._limit)):
            self._sign.clear()
            if self._stopping.is_set():
                return
            try:
                loop.call_soon_threadsafe(self._sign.set)
            except RuntimeError:  # the loop has ended
                return
            silent = 0.0
            # In short waits: the limit may become shorter meanwhile.
            while not self._sign.wait(GLANCE_SECONDS) and not self._stopping.is_set():
                silent += GLANCE_SECONDS
                if silent >= self._limit:
                    self._break_off(ident)
                    silent = 0.0

    def _break_off(self, ident: int) -> None:
        plugin = self._plugin_in(sys._current_frames().get(ident))
        if plugin is None:
            return
        log.error("a plugin holds up the event loop and is broken off", plugin=plugin, seconds=self._limit)
        if ident == threading.main_thread().ident:
            signal.pthread_kill(ident, SIGNAL)

    def _interrupt(self, _number: int, frame: FrameType | None) -> None:
        plugin = self._plugin_in(frame)
        if plugin is not None and not self._sign.is_set():
            raise HeldUpError(f"held up the event loop for more than {self._limit:g} s")

    def _plugin_in(self, frame: FrameType | None) -> str | None:
        while frame is not None:
            if ShutdownLimit.runs_in(frame):
                return None  # broken off, it would not come again
            if (plugin := self._files.get(frame.f_code.co_filename)) is not None:
                return plugin
            frame = frame.f_back
        return None

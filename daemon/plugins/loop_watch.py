"""Interrupts plugins that block the event loop.

A thread polls the loop. If the loop does not respond in time and a plugin's code is on its stack, a signal
makes Python raise HeldUpError there, even from a sleep or a read. The daemon's own code is never interrupted.
"""

import signal
import sys
import threading
from asyncio import AbstractEventLoop
from collections.abc import Mapping
from types import FrameType

import structlog

from daemon.plugins.errors import HeldUpError
from daemon.runtime.shutdown_limit import ShutdownLimit

log = structlog.get_logger(__name__)

SIGNAL = signal.SIGUSR2
CHECK_SECONDS = 1.0
POLL_SECONDS = 0.1
HURRY_SECONDS = 0.5
"""Limit during the shutdown."""


class LoopWatch:
    """Call `start` and `stop` on the loop. If it runs outside the main thread, blocking plugins are only
    logged."""

    def __init__(self, limit_seconds: float) -> None:
        self._limit = limit_seconds
        self._files: Mapping[str, str] = {}
        self._responded = threading.Event()
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
        """Interrupt plugins sooner from now on. Signal-safe."""
        self._limit = min(self._limit, HURRY_SECONDS)

    def stop(self) -> None:
        self._stopping.set()
        self._responded.set()  # the loop cannot set it while it waits for the thread
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            if threading.current_thread() is threading.main_thread():
                # A signal may still be pending; the default action would end the process.
                signal.signal(SIGNAL, signal.SIG_IGN)

    def _run(self, loop: AbstractEventLoop, ident: int) -> None:
        while not self._stopping.wait(min(CHECK_SECONDS, self._limit)):
            self._responded.clear()
            if self._stopping.is_set():
                return
            try:
                loop.call_soon_threadsafe(self._responded.set)
            except RuntimeError:  # the loop has ended
                return
            silent = 0.0
            # Short waits, because `hurry` may lower the limit.
            while not self._responded.wait(POLL_SECONDS) and not self._stopping.is_set():
                silent += POLL_SECONDS
                if silent >= self._limit:
                    self._interrupt_plugin(ident)
                    silent = 0.0

    def _interrupt_plugin(self, ident: int) -> None:
        plugin = self._plugin_in(sys._current_frames().get(ident))
        if plugin is None:
            return
        log.error("a plugin blocks the event loop and is interrupted", plugin=plugin, seconds=self._limit)
        if ident == threading.main_thread().ident:
            signal.pthread_kill(ident, SIGNAL)

    def _interrupt(self, _number: int, frame: FrameType | None) -> None:
        plugin = self._plugin_in(frame)
        if plugin is not None and not self._responded.is_set():
            raise HeldUpError(f"blocked the event loop for more than {self._limit:g} s")

    def _plugin_in(self, frame: FrameType | None) -> str | None:
        while frame is not None:
            if ShutdownLimit.runs_in(frame):
                return None  # an interrupted signal handler would not run again
            if (plugin := self._files.get(frame.f_code.co_filename)) is not None:
                return plugin
            frame = frame.f_back
        return None

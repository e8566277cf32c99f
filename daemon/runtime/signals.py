"""The end of the process, which nothing may hold up."""

import faulthandler
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

STDERR = 2


class Terminated(SystemExit):
    """SIGTERM came, as KeyboardInterrupt stands for SIGINT. An event loop lets a SystemExit through."""


def terminated(_number: int, _frame: FrameType | None) -> NoReturn:
    """A signal handler: what is going on is broken off, and cleans up after itself."""
    raise Terminated


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait for its end. For imports, in the main thread.

    A library that is interrupted while it loads raises an ImportError of its own, or goes on as if a part of
    it were not installed.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave(status: int) -> NoReturn:
    """End the process with this exit status, at once.

    A thread that is still inside FFmpeg or a model, or waits for a server that hangs, cannot be
    ended. The interpreter would wait for it, or take itself apart under it and crash; by now there
    is nothing left to wait for.
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # a full disk, or nobody who reads
            # The interpreter would try again at its end, and have a status of its own for that.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    if threading.active_count() > 1:
        os._exit(status)
    sys.exit(status)


def end_within(seconds: float) -> None:
    """Ends the process with status 1 where it still runs after so many seconds, whatever it is at.

    The log shows where each thread was. It needs no interpreter: code that never gives it back is ended too.
    """
    faulthandler.dump_traceback_later(seconds, exit=True, file=STDERR)

"""Signals, and ending the process even if threads hang."""

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
    """Raised by SIGTERM, as KeyboardInterrupt is by SIGINT. Event loops let a SystemExit through."""


def terminated(_number: int, _frame: FrameType | None) -> NoReturn:
    """Signal handler that raises Terminated, so that cleanup code runs."""
    raise Terminated


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Block SIGINT and SIGTERM during imports; for the main thread.

    A library that is interrupted during its import may raise an ImportError, or continue as if an optional
    part were not installed.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave(status: int) -> NoReturn:
    """End the process with this exit status at once.

    A thread that is inside FFmpeg or a model, or waits for a hanging server, cannot be stopped. The
    interpreter would wait for the thread, or crash at exit while the thread runs.
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # a full disk, or a closed pipe
            # The interpreter would flush again at exit, and fail with a status of its own.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    if threading.active_count() > 1:
        os._exit(status)
    sys.exit(status)


def end_within(seconds: float) -> None:
    """End the process with status 1 if it still runs after `seconds`, and log the stack of each thread.

    Works without the interpreter, so even if code never releases it.
    """
    faulthandler.dump_traceback_later(seconds, exit=True, file=STDERR)

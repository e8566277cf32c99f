"""The end of the process, which nothing may hold up."""

import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


class Terminated(SystemExit):
    """SIGTERM came, as KeyboardInterrupt stands for SIGINT. An event loop lets a SystemExit through."""


def terminated(_number: int, _frame: FrameType | None) -> NoReturn:
    """A signal handler: what is going on is broken off, and cleans up after itself."""
    raise Terminated


def leave(status: int) -> NoReturn:
    """End the process with this exit status, at once.

    A thread that is still inside FFmpeg or a model, or waits for a server that hangs, cannot be
    ended. The interpreter would wait for it, or take itself apart under it and crash; by now there
    is nothing left to wait for.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    if threading.active_count() > 1:
        os._exit(status)
    sys.exit(status)


@contextmanager
def leaving_after(seconds: float, status: int) -> Iterator[None]:
    """Ends the process with this exit status where the block does not end in time."""
    timer = threading.Timer(seconds, _leave_from_thread, (status,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _leave_from_thread(status: int) -> None:
    logging.getLogger(__name__).error("the process does not end by itself and is ended")
    leave(status)

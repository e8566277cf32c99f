"""Ownership of a data folder, and processes that a killed owner left running."""

import asyncio
import contextlib
import ctypes
import fcntl
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

PR_SET_PDEATHSIG = 1


class OwnerLock:
    """A file lock that the kernel releases when its holder ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None

    def acquire(self) -> bool:
        """Try to acquire the lock; returns whether this process holds it now."""
        file = self._path.open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        self._file = file
        return True

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def orphans(program: str, argument: str) -> list[int]:
    """Ids of this user's processes that run a program of this name with exactly this argument."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        # The process may end meanwhile, or belong to another user.
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            mine = folder.stat().st_uid == os.getuid()
            if mine and Path(os.fsdecode(words[0])).name == program and os.fsencode(argument) in words:
                found.append(int(folder.name))
    return found


async def terminate(pid: int, timeout_seconds: float) -> None:
    """End a process that is not a child of this one: SIGTERM, and SIGKILL after the timeout."""
    async with _watched(pid) as (handle, gone):
        for sign in (signal.SIGTERM, signal.SIGKILL):
            if gone.is_set():
                return
            # It may have ended since; then the event follows.
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, sign)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(gone.wait(), timeout_seconds)


async def wait_for_end(pid: int) -> None:
    """Wait for the end of a process that is not a child of this one."""
    async with _watched(pid) as (_, gone):
        await gone.wait()


@asynccontextmanager
async def _watched(pid: int) -> AsyncIterator[tuple[int, asyncio.Event]]:
    """A pidfd, which refers to this process even if its id is reused, and the event of its end."""
    gone = asyncio.Event()
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        gone.set()
        yield -1, gone
        return
    loop = asyncio.get_running_loop()
    loop.add_reader(handle, gone.set)
    try:
        yield handle, gone
    finally:
        loop.remove_reader(handle)
        os.close(handle)


def dies_with_parent() -> Callable[[], None] | None:
    """A `preexec_fn` that makes the kernel end the child with its parent (Linux); None elsewhere."""
    if sys.platform != "linux":
        return None
    # Loaded before the fork: nothing may be imported between fork and exec.
    prctl = ctypes.CDLL(None).prctl
    terminate = int(signal.SIGTERM)

    def ask() -> None:
        prctl(PR_SET_PDEATHSIG, terminate)

    return ask

"""Who owns a data folder, and what a killed owner left running."""

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
    """A lock that the kernel gives back when its holder dies, however it dies."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None

    def acquire(self) -> bool:
        """True if we hold the lock now; False if somebody else does."""
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
    """The processes of ours whose command line starts a program of this name with exactly this argument."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        # A process may end, or belong to somebody else, while we look at it.
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            mine = folder.stat().st_uid == os.getuid()
            if mine and Path(os.fsdecode(words[0])).name == program and os.fsencode(argument) in words:
                found.append(int(folder.name))
    return found


async def terminate(pid: int, timeout_seconds: float) -> None:
    """Ends a process that is no child of ours: asks it first, and after the timeout does not ask."""
    async with _watched(pid) as (handle, gone):
        for sign in (signal.SIGTERM, signal.SIGKILL):
            if gone.is_set():
                return
            # It may have ended since; then the event is on its way.
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, sign)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(gone.wait(), timeout_seconds)


async def wait_for_end(pid: int) -> None:
    """Returns when that process, which is no child of ours, has ended."""
    async with _watched(pid) as (_, gone):
        await gone.wait()


@asynccontextmanager
async def _watched(pid: int) -> AsyncIterator[tuple[int, asyncio.Event]]:
    """A handle that stays with this process, whoever gets its number later, and the event of its end."""
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
    """What a child does before it becomes its program: ask the kernel to end it with us (Linux)."""
    if sys.platform != "linux":
        return None
    # Loaded here, because between fork and exec nothing may be imported.
    prctl = ctypes.CDLL(None).prctl
    terminate = int(signal.SIGTERM)

    def ask() -> None:
        prctl(PR_SET_PDEATHSIG, terminate)

    return ask

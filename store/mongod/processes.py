"""Processes that are not children of this one, such as servers that a killed owner left running."""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from pipeline.base.background import wait_at_most

PR_SET_PDEATHSIG = 1


def find_processes(program: str, argument: str) -> list[int]:
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
    async with _watched(pid) as (handle, ended):
        for signal_number in (signal.SIGTERM, signal.SIGKILL):
            if ended.is_set():
                return
            # It may have ended meanwhile; the event follows.
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal_number)
            await wait_at_most(ended, timeout_seconds)


async def wait_for_end(pid: int) -> None:
    """Wait for the end of a process that is not a child of this one."""
    async with _watched(pid) as (_, ended):
        await ended.wait()


@asynccontextmanager
async def _watched(pid: int) -> AsyncIterator[tuple[int, asyncio.Event]]:
    """A pidfd, which refers to this process even if its id is reused, and the event of its end."""
    ended = asyncio.Event()
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        ended.set()
        yield -1, ended
        return
    loop = asyncio.get_running_loop()
    loop.add_reader(handle, ended.set)
    try:
        yield handle, ended
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

    def set_death_signal() -> None:
        prctl(PR_SET_PDEATHSIG, terminate)

    return set_death_signal

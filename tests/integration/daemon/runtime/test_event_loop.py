"""The daemon's event loop, beside plugins that try to end it, to keep it, or to take its threads."""

import asyncio
import os
import subprocess
import sys
import threading
import time

import pytest

from daemon.plugins.plugin import Plugin
from daemon.runtime import event_loop
from daemon.runtime.signals import Terminated


async def from_plugin(start):
    """A plugin whose handler has called this function."""
    plugin = Plugin("plug", None)

    async def handler():
        start()

    await plugin.caller.call(handler, seconds=5)
    return plugin


def leave():
    sys.exit(5)


async def leave_later():
    await asyncio.sleep(0)
    raise KeyboardInterrupt


tasks = []
"""The loop itself keeps no hold of its tasks."""


@pytest.mark.parametrize(
    ("start", "error"),
    [
        (lambda: asyncio.get_running_loop().call_later(0.01, sys.exit, 5), "background: SystemExit: 5"),
        (lambda: asyncio.get_running_loop().call_soon(leave), "background: SystemExit: 5"),
        (lambda: tasks.append(asyncio.create_task(leave_later())), "background: KeyboardInterrupt"),
    ],
)
def test_a_plugin_that_exits_in_the_background_is_named_and_ends_nothing(start, error):
    """In a callback, a delayed callback or a task: the loop continues with its other work."""

    async def main():
        plugin = await from_plugin(start)
        await asyncio.sleep(0.05)
        return plugin

    plugin = event_loop.run(main())
    assert plugin.status().error == error
    assert plugin.failures == 1


def test_an_exit_of_the_daemon_itself_ends_the_loop():
    """A signal's, wherever it strikes, and one of the main coroutine."""

    async def struck():
        asyncio.get_running_loop().call_soon(terminate)
        await asyncio.sleep(5)

    def terminate():
        raise Terminated

    async def exits():
        sys.exit(3)

    with pytest.raises(Terminated):
        event_loop.run(struck())
    with pytest.raises(SystemExit, match="3"):
        event_loop.run(exits())


def test_threads_of_a_plugin_that_hang_leave_those_of_the_daemon_free(monkeypatch):
    """More of them than the loop's executor has: our own work is done at once, and so is the end."""
    monkeypatch.setattr(event_loop, "THREADS_SECONDS", 30)
    release = threading.Event()

    def hang():
        tasks.extend(asyncio.create_task(asyncio.to_thread(release.wait, 20)) for _ in range(40))

    async def main():
        await from_plugin(hang)
        await asyncio.sleep(0)
        await asyncio.wait_for(asyncio.to_thread(time.monotonic), 5)
        other = Plugin("other", None)
        assert await other.caller.call(lambda: 5, seconds=5) == 5

    since = time.monotonic()
    try:
        event_loop.run(main())
        assert time.monotonic() - since < 10
    finally:
        release.set()


CLINGS = """
import asyncio, sys, time
from daemon.runtime import event_loop, signals

async def cling():
    while True:
        try:
            await asyncio.sleep(1e6)
        except BaseException:
            {then}

async def main():
    global clinging
    clinging = asyncio.create_task(cling(), name="clinging")
    asyncio.get_running_loop().run_in_executor(None, time.sleep, 60)
    await asyncio.sleep(0)

signals.end_within(5)
event_loop.run(main())
signals.leave(0)
"""


@pytest.mark.parametrize(("then", "status"), [("pass", 0), ("time.sleep(1e6)", 1)])
def test_nothing_that_is_left_behind_keeps_the_process(then, status):
    """A task that refuses to be cancelled, and a thread that hangs; or one that then blocks the loop."""
    program = [sys.executable, "-c", CLINGS.format(then=then)]
    ended = subprocess.run(program, timeout=20, check=False, capture_output=True, env=os.environ)
    assert ended.returncode == status, ended.stderr
    assert (b"in cling" in ended.stderr) is (status == 1)

"""A plugin's coroutine that blocks the event loop."""

import asyncio
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from daemon.plugins import loader
from daemon.plugins.errors import PluginFault
from daemon.plugins.loop_watch import SIGNAL, LoopWatch
from daemon.plugins.plugin import Plugin
from daemon.runtime.shutdown_limit import FORCED_SECONDS, ShutdownLimit

LIMIT_SECONDS = 0.2


@pytest.fixture
def watch():
    """Only stops the watch; the test starts it on its loop."""
    before = signal.getsignal(SIGNAL)
    made = LoopWatch(LIMIT_SECONDS)
    yield made
    made.stop()
    signal.signal(SIGNAL, before)


def plugin(folder: Path, body: str) -> Plugin:
    path = folder / "blocker.py"
    path.write_text(f"import time\nasync def activate(app, ctx, options):\n{body}")
    return Plugin("blocker", path)


@pytest.mark.parametrize(
    "body",
    [
        "    time.sleep(60)",
        "    while True: pass",
        "    while True:\n        try: time.sleep(1)\n        except Exception: pass",
    ],
)
async def test_a_plugin_that_blocks_the_loop_is_named_and_broken_off(tmp_path, watch, body):
    """In a sleep, in an endless loop, and where it catches every Exception; the event loop continues."""
    blocker = plugin(tmp_path, body)
    activate = loader.load(blocker)
    watch.start(asyncio.get_running_loop(), {str(blocker.path): blocker.name})
    since = time.monotonic()
    with capture_logs() as logs, pytest.raises(PluginFault, match=r"blocked the event loop .*0\.2 s"):
        await blocker.caller.call(activate, None, None, {}, seconds=30)
    assert time.monotonic() - since < 5
    named = [line for line in logs if line["event"].startswith("a plugin blocks the event loop")]
    assert named
    assert named[0]["plugin"] == "blocker"
    await asyncio.sleep(0.01)


async def test_our_own_code_is_never_broken_off(tmp_path, watch):
    """Whatever else takes long on the loop is left to end by itself, and the signal alone does nothing."""
    blocker = plugin(tmp_path, "    pass")
    watch.start(asyncio.get_running_loop(), {str(blocker.path): blocker.name})
    time.sleep(4 * LIMIT_SECONDS)  # noqa: ASYNC251 - blocking the loop is what is tested
    signal.raise_signal(SIGNAL)


async def test_a_signal_that_ends_the_process_is_not_broken_off(tmp_path, watch, monkeypatch):
    """It comes while the plugin blocks, and is still being handled when the plugin is to be broken off."""
    handled = []

    def end_within(seconds):
        time.sleep(4 * LIMIT_SECONDS)
        handled.append(seconds)

    monkeypatch.setattr("daemon.runtime.shutdown_limit.end_within", end_within)
    before = signal.signal(signal.SIGTERM, ShutdownLimit())
    blocker = plugin(tmp_path, "    time.sleep(60)")
    activate = loader.load(blocker)
    watch.start(asyncio.get_running_loop(), {str(blocker.path): blocker.name})
    threading.Timer(LIMIT_SECONDS / 2, lambda: os.kill(os.getpid(), signal.SIGTERM)).start()
    with pytest.raises(PluginFault):
        await blocker.caller.call(activate, None, None, {}, seconds=30)
    signal.signal(signal.SIGTERM, before)
    assert handled == [FORCED_SECONDS]


async def test_a_plugin_that_waits_as_it_should_is_left_alone(tmp_path, watch):
    """Long waits with await block nothing."""
    blocker = plugin(tmp_path, "    import asyncio\n    await asyncio.sleep(0.8)\n    return 'done'")
    activate = loader.load(blocker)
    watch.start(asyncio.get_running_loop(), {str(blocker.path): blocker.name})
    assert await blocker.caller.call(activate, None, None, {}, seconds=30) == "done"


async def test_a_plugin_that_blocks_the_loop_makes_no_other_overdue(tmp_path, watch):
    """Both are activated at once: one is broken off, and the other has the time that it was promised."""
    blocker = plugin(tmp_path, "    time.sleep(60)")
    watch.start(asyncio.get_running_loop(), {str(blocker.path): blocker.name})

    async def good():
        for _ in range(3):
            await asyncio.sleep(0.01)
        return "done"

    calls = (
        Plugin("good", None).caller.call(good, seconds=LIMIT_SECONDS),
        blocker.caller.call(loader.load(blocker), None, None, {}, seconds=LIMIT_SECONDS),
    )
    done, broken = await asyncio.gather(*calls, return_exceptions=True)
    assert done == "done"
    assert str(broken).startswith("blocked the event loop")

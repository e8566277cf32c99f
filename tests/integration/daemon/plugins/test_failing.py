"""Plugins that fail: each is reported, and others are not affected."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from store import Context, User
from tests.plugins import site, written

GOOD = """
from daemon.plugins import BaseHandler
class Hello(BaseHandler):
    async def get(self):
        return {"hello": self.ctx is not None}
def activate(app, ctx, options):
    app.add_handlers(".*", [("/hello", Hello)])
    app.add_sighting_hook(before=lambda sighting, face: {"seen": True})
"""
FAILING = {
    "a_syntax": ("def activate(:", "load: SyntaxError"),
    "b_import": ("import no_such_module_anywhere", "load: ModuleNotFoundError"),
    "c_raises": ("1 / 0", "load: ZeroDivisionError"),
    "d_exits": ("import sys; sys.exit(3)", "load: SystemExit: 3"),
    "e_nothing": ("x = 1", "load: it has no function activate"),
    "f_hangs": ("import threading; threading.Event().wait(20)", "load: did not end within 0.3 s"),
    "g_raises": ("def activate(app, ctx, options): raise KeyError('url')", "activate: KeyError: 'url'"),
    "h_exits": ("async def activate(app, ctx, options): raise SystemExit", "activate: SystemExit"),
    "i_hangs": (
        "import threading\ndef activate(app, ctx, options): threading.Event().wait(20)",
        "activate: did not end within 0.3 s",
    ),
    "j_waits": (
        "import asyncio\nasync def activate(app, ctx, options): await asyncio.sleep(60)",
        "activate: did not end within 0.3 s",
    ),
    "k_blocks": (
        "import time\nasync def activate(app, ctx, options): time.sleep(60)",
        "activate: blocked the event loop for more than 0.3 s",
    ),
    "l_arguments": ("def activate(): pass", "activate: activate takes (app, ctx, options)"),
    "m_handler": (
        "def activate(app, ctx, options): app.add_handlers('.*', [('/x', dict)])",
        "activate: TypeError: the handler at /x is a class that inherits BaseHandler",
    ),
    "z_taken": (GOOD, "activate: its path /hello is already used by the plugin good"),
}


async def test_a_plugin_that_fails_stops_nobody(ctx: Context, user: User, tmp_path: Path) -> None:
    """Whatever a file or its activate does: it is named in /status, and the good plugin works."""
    folder = written(tmp_path / "plugins", {name: text for name, (text, _) in FAILING.items()})
    written(folder, {"good": GOOD})
    since = time.monotonic()
    async with site(ctx, user, folder, timeout_seconds=0.3) as running:
        assert time.monotonic() - since < 10
        status = await running.status()
        assert status.keys() == {*FAILING, "good"}
        for name, (_, expected) in FAILING.items():
            # While one blocks the loop, others may be found late, too.
            assert status[name]["state"] == "failed"
            assert expected in status[name]["error"] or name in {"i_hangs", "j_waits"}, name
        assert (status["good"]["state"], status["good"]["error"]) == ("active", "")
        assert (await running.ask("GET", "/hello", user)).json() == {"hello": True}
        assert (await running.ask("GET", "/x", user)).status_code == 404


async def test_threads_that_hang_do_not_keep_the_process(ctx: Context, user: User, tmp_path: Path) -> None:
    """They are daemon threads, outside the loop's pool, which is waited for at the end."""
    text = FAILING["f_hangs"][0]
    loop, pool = asyncio.get_running_loop(), ThreadPoolExecutor()
    loop.set_default_executor(pool)
    async with site(ctx, user, written(tmp_path / "plugins", {"hangs": text}), timeout_seconds=0.1):
        (thread,) = [one for one in threading.enumerate() if one.name == "plugin hangs"]
        assert thread.daemon
        with ThreadPoolExecutor(1) as waiter:
            await asyncio.wait_for(loop.run_in_executor(waiter, pool.shutdown), 5)
        loop.set_default_executor(ThreadPoolExecutor())  # the store closes in threads of it


async def test_options_reach_their_plugin_alone(ctx: Context, user: User, tmp_path: Path) -> None:
    """Each plugin gets a table of its own, which it may change; without options it is empty."""
    text = """
from daemon.plugins import BaseHandler
class Options(BaseHandler):
    async def get(self):
        return self.kept
def activate(app, ctx, options):
    app.add_handlers(".*", [(f"/{app.name}", Options, {"kept": dict(options)})])
    options.clear()
"""
    folder = written(tmp_path / "plugins", {"one": text, "two": text, "three": text})
    options = {"one": {"a": [1, 2]}, "two": {"b": {"c": "d"}}, "unused": {}}
    async with site(ctx, user, folder, options=options, enabled=("one", "two")) as running:
        assert (await running.ask("GET", "/one", user)).json() == {"a": [1, 2]}
        assert (await running.ask("GET", "/two", user)).json() == {"b": {"c": "d"}}
        assert (await running.ask("GET", "/three", user)).status_code == 404
    assert options["one"] == {"a": [1, 2]}

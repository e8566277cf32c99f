"""Active plugins for tests: files in a folder, a real store, real HTTP, and a recorder that calls their
hooks."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx

from daemon.config.settings import PluginsSettings
from daemon.events import EventBus
from daemon.events.producers import StoredSightings
from daemon.http.server import application, serving
from daemon.plugins.hook import Hook
from daemon.plugins.host import Plugins
from daemon.plugins.plugin import Plugin
from daemon.plugins.plugin_app import HookFunction
from daemon.runtime.metrics import Metrics
from store import Context, User
from store.spool.recorder import Recorder
from store.spool.spool import Spool
from tests.health import Healthy
from tests.sightings import PACK, RECORDING

EXAMPLES = Path(__file__).parents[1] / "docs" / "plugins"


class PluginHealth(Healthy):
    """A daemon without faults, whose status has the state of its plugins."""

    def __init__(self, plugins: Plugins) -> None:
        self._plugins = plugins

    def status(self) -> dict[str, Any]:
        return {"plugins": [asdict(report) for report in self._plugins.status()]}


class Site:
    """A web server with plugins, a store and a recorder."""

    def __init__(self, plugins: Plugins, client: httpx.AsyncClient, metrics: Metrics) -> None:
        self.plugins = plugins
        self.client = client
        self.metrics = metrics
        self.events = EventBus(metrics)

    def token(self, user: User | None) -> dict[str, str]:
        return {"Authorization": f"Token {user['token']}"} if user else {}

    async def ask(self, method: str, path: str, user: User | None = None, **given: Any) -> httpx.Response:
        headers = {**self.token(user), **given.pop("headers", {})}
        return await self.client.request(method, path, headers=headers, **given)

    async def status(self) -> dict[str, dict[str, Any]]:
        """The state of each plugin in /status."""
        answer = await self.client.get("/status")
        return {plugin["name"]: plugin for plugin in answer.json()["plugins"]}

    def counted(self, cam_id: str, outcome: str) -> float:
        labels = {"camera": cam_id, "outcome": outcome}
        return self.metrics.registry.get_sample_value("facend_sightings_total", labels) or 0.0

    async def record(self, ctx: Context, user: User, spool: Spool, seconds: float = 20) -> None:
        """Stores the sightings of the spool, as the daemon does, until the spool is empty."""
        stored = StoredSightings(self.events)
        recorder = Recorder(ctx, user, spool, RECORDING, self.metrics, stored, gate=self.plugins)
        task = asyncio.create_task(recorder.run())
        try:
            await asyncio.wait_for(recorder.drained(), seconds)
        finally:
            recorder.stop()
            await task


@asynccontextmanager
async def web(settings: PluginsSettings) -> AsyncIterator[Site]:
    """A server on a free port; its plugins are not activated."""
    plugins = Plugins(settings)
    metrics = Metrics(version="1.2.3", pack=PACK, runtime="onnxruntime")
    app = application(metrics.registry, PluginHealth(plugins), plugins.routes())
    async with (
        serving(app, "127.0.0.1", 0) as address,
        httpx.AsyncClient(base_url=address, timeout=30) as client,
    ):
        yield Site(plugins, client, metrics)


@asynccontextmanager
async def site(ctx: Context, user: User, folder: Path, **settings: Any) -> AsyncIterator[Site]:
    """A server whose plugins are active."""
    async with web(PluginsSettings(dirs=(folder,), **settings)) as made:
        try:
            await made.plugins.activate(ctx, user, made.events)
            yield made
        finally:
            await made.plugins.close()


def written(folder: Path, files: Mapping[str, str]) -> Path:
    """The folder, with a plugin file for each name."""
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def plugin_hook(
    function: HookFunction,
    name: str = "plug",
    seconds: float = 5.0,
    clock: Callable[[], float] = time.monotonic,
    where: str = "before",
) -> Hook:
    """A hook of an active plugin."""
    plugin = Plugin(name, None)
    plugin.activated()
    return Hook(plugin, where, function, seconds, clock)

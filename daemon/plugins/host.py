"""The plugins' lifecycle: activated when the store opens, closed before it closes."""

import asyncio
import copy
from collections.abc import Sequence

import structlog
from starlette.routing import BaseRoute, Route

from daemon.config.settings import PluginsSettings
from daemon.events.bus import EventBus
from daemon.plugins import loader
from daemon.plugins.endpoint import Endpoint
from daemon.plugins.errors import PluginFault
from daemon.plugins.event_hooks import EventHook
from daemon.plugins.hook import Hook
from daemon.plugins.loop_watch import LoopWatch
from daemon.plugins.plugin import Plugin
from daemon.plugins.plugin_app import HookFunction, PluginApp, Registered
from daemon.plugins.routing import Rule
from daemon.plugins.sighting_hooks import SightingHooks
from daemon.status import PluginReport
from pipeline.types import Sighting
from store import Context, Face, User

log = structlog.get_logger(__name__)

MAX_BLOCK_SECONDS = 10.0
"""A blocked event loop sends no watchdog signals; systemd's limit is 30 s."""


class Plugins:
    """The plugins of the settings. Methods are called on the event loop, except `hurry`.

    Implements `store.spool.recording.SightingGate`.
    """

    def __init__(self, settings: PluginsSettings) -> None:
        self._settings = settings
        self._watch = LoopWatch(min(settings.timeout_seconds, MAX_BLOCK_SECONDS))
        self._endpoint = Endpoint(settings)
        self._hooks = SightingHooks()
        self._event_hooks: list[EventHook] = []
        self._events: EventBus | None = None
        self._plugins: list[Plugin] = []

    def routes(self) -> Sequence[BaseRoute]:
        """A catch-all route; append it to the daemon's own."""
        return [Route("/{path:path}", endpoint=self._endpoint)]

    async def activate(self, ctx: Context, user: User, events: EventBus) -> None:
        """Load all plugins, call their `activate` concurrently, and subscribe their hooks to the events.

        Failing plugins are logged and left out.
        """
        settings = self._settings
        loader.add_packages(settings.packages)
        self._plugins = await asyncio.to_thread(loader.find, settings.dirs, settings.enabled)
        if unknown := settings.options.keys() - {plugin.name for plugin in self._plugins}:
            log.warning("there are options for unused plugins", plugins=sorted(unknown))
        usable = [plugin for plugin in self._plugins if plugin.path is not None]
        if usable:
            files = {str(plugin.path): plugin.name for plugin in usable}
            self._watch.start(asyncio.get_running_loop(), files)
        apps = await asyncio.gather(*(self._activate(plugin, ctx, user) for plugin in usable))
        rules: list[Rule] = []
        before: list[Hook] = []
        event_hooks: list[EventHook] = []
        for plugin, app in zip(usable, apps, strict=True):
            if app is None:
                continue
            registered = app.seal()
            if conflict := _path_conflict(rules, registered.rules):
                plugin.unusable("activate", PluginFault(conflict))
                continue
            rules += registered.rules
            before += self._make_hooks(plugin, "before", registered.before)
            event_hooks += self._event_hooks_of(plugin, registered)
            plugin.activated()
            paths = [rule.path.pattern for rule in registered.rules]
            log.info("a plugin is active", plugin=plugin.name, paths=paths)
        self._hooks = SightingHooks(before)
        self._events, self._event_hooks = events, event_hooks
        for hook in event_hooks:
            hook.open(events)
        self._endpoint.open(ctx, rules, {plugin.name: plugin for plugin in usable})

    def hurry(self) -> None:
        """From now on, interrupt plugins that block the event loop sooner. Signal-safe."""
        self._watch.hurry()

    async def close(self) -> None:
        """Refuse requests and deliver queued events; call it before the context closes."""
        self._endpoint.close()
        if (events := self._events) is not None:
            await asyncio.gather(*(hook.close(events) for hook in self._event_hooks))
            self._event_hooks = []
        self._watch.stop()

    async def admit(self, sighting_id: str, sighting: Sighting, face: Face) -> None:
        await self._hooks.admit(sighting_id, sighting, face)

    def status(self) -> list[PluginReport]:
        return [plugin.status() for plugin in self._plugins]

    async def _activate(self, plugin: Plugin, ctx: Context, user: User) -> PluginApp | None:
        app = PluginApp(plugin.name, user)
        options = copy.deepcopy(self._settings.options.get(plugin.name, {}))
        seconds = self._settings.timeout_seconds
        where = "load"
        try:
            activate = await plugin.caller.call(loader.load, plugin, seconds=seconds)
            where = "activate"
            arguments: tuple[object, ...] = (options,)
            if loader.takes_name_and_source(activate):
                arguments = (plugin.name, str(plugin.path))
            await plugin.caller.call(activate, app, ctx, *arguments, seconds=seconds)
        except Exception as error:  # noqa: BLE001 - foreign code may raise anything; it is logged there
            plugin.unusable(where, error)
            return None
        finally:
            app.seal()
        return app

    def _make_hooks(self, plugin: Plugin, kind: str, functions: Sequence[HookFunction]) -> list[Hook]:
        return [
            Hook(
                plugin,
                kind if len(functions) == 1 else f"{kind} {number}",
                function,
                self._settings.timeout_seconds,
            )
            for number, function in enumerate(functions, 1)
        ]

    def _event_hooks_of(self, plugin: Plugin, registered: Registered) -> list[EventHook]:
        after = self._make_hooks(plugin, "after", registered.after)
        functions = [subscriber.function for subscriber in registered.subscribers]
        subscribed = self._make_hooks(plugin, "event", functions)
        return [
            *(EventHook.after_storing(hook) for hook in after),
            *(
                EventHook.subscriber(hook, subscriber.types)
                for hook, subscriber in zip(subscribed, registered.subscribers, strict=True)
            ),
        ]


def _path_conflict(rules: Sequence[Rule], new: Sequence[Rule]) -> str:
    """Why the new rules cannot be added; empty if they can."""
    existing = {(rule.host.pattern, rule.path.pattern): rule.plugin for rule in rules}
    for rule in new:
        if (other := existing.get((rule.host.pattern, rule.path.pattern))) is not None:
            return f"its path {rule.path.pattern} is already used by the plugin {other}"
    return ""

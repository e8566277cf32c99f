"""A plugin's hook: calls its function, counts failures, and suspends it after too many."""

import inspect
import time
from collections.abc import Callable
from typing import Any, TypeVar

import structlog

from daemon.plugins.errors import PluginFault, Refuse
from daemon.plugins.plugin import Plugin
from daemon.plugins.plugin_app import HookFunction

log = structlog.get_logger(__name__)

T = TypeVar("T")

FAILURES_TO_REST = 5
"""Consecutive failures after which a hook is suspended."""
FIRST_REST_SECONDS = 60.0
MAX_REST_SECONDS = 3600.0
"""The suspension doubles after each failed attempt, up to this."""


class Hook:
    """A plugin's function, which is suspended for a growing time while it keeps failing."""

    def __init__(
        self,
        plugin: Plugin,
        where: str,
        function: HookFunction,
        seconds: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`where` names the hook in log and status; `seconds` is the timeout of a call."""
        self.plugin = plugin
        self._where = where
        self._function = self._watched(function)
        self._seconds = seconds
        self._now = now
        self._is_running = False
        self._failures_in_row = 0
        self._rest_seconds = FIRST_REST_SECONDS
        self._rests_until = 0.0

    @property
    def rests(self) -> bool:
        return self._now() < self._rests_until

    async def call(self, *arguments: object, accept: Callable[[Any], T]) -> T:
        """Call the function and convert its return value by `accept`, which raises PluginFault for an invalid
        value.

        Exceptions propagate; all except `Refuse` are logged and counted as failures.
        """
        try:
            if self._is_running:
                # A thread cannot be stopped from outside, and a second call would probably hang too.
                raise PluginFault("an earlier call has not returned yet")
            self._is_running = True
            caller = self.plugin.caller
            answer = accept(await caller.call(self._function, *arguments, seconds=self._seconds))
        except Refuse:
            self._succeeded()
            raise
        except Exception as error:
            self._failed(error)
            raise
        self._succeeded()
        return answer

    def _succeeded(self) -> None:
        if self._where in self.plugin.resting:
            self.plugin.resting.discard(self._where)
            log.info("a plugin's hook works again", plugin=self.plugin.name, hook=self._where)
        self._failures_in_row, self._rest_seconds = 0, FIRST_REST_SECONDS

    def _failed(self, error: Exception) -> None:
        self.plugin.failed(self._where, error)
        self._failures_in_row += 1
        if self._failures_in_row < FAILURES_TO_REST:
            return
        self._rests_until = self._now() + self._rest_seconds
        self.plugin.resting.add(self._where)
        log.error(
            "a plugin's hook fails too often and is suspended",
            plugin=self.plugin.name,
            hook=self._where,
            seconds=self._rest_seconds,
        )
        self._rest_seconds = min(2 * self._rest_seconds, MAX_REST_SECONDS)

    def _watched(self, function: HookFunction) -> HookFunction:
        """Wrap the function to record when it returns: an abandoned call may still be running."""

        async def coroutine(*arguments: object) -> object:
            try:
                return await function(*arguments)
            finally:
                self._is_running = False

        def plain(*arguments: object) -> object:
            try:
                return function(*arguments)
            finally:
                self._is_running = False

        return coroutine if inspect.iscoroutinefunction(function) else plain

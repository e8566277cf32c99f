"""One function of a plugin that is called again and again: counts its failures, and lets it rest."""

import inspect
import time
from collections.abc import Callable
from typing import Any, TypeVar

import structlog

from daemon.plugins.app import HookFunction
from daemon.plugins.errors import PluginFault, Refuse
from daemon.plugins.plugin import Plugin

log = structlog.get_logger(__name__)

T = TypeVar("T")

FAILURES_TO_REST = 5
"""After so many failures in a row a hook is not asked for a while."""
FIRST_REST_SECONDS = 60.0
LONGEST_REST_SECONDS = 3600.0
"""The rest is twice as long after each failed trial."""


class Hook:
    """A plugin's function. One that fails too often rests, and is tried again by and by."""

    def __init__(
        self,
        plugin: Plugin,
        where: str,
        function: HookFunction,
        seconds: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`where` names the hook in log and status; a call may take so many seconds."""
        self.plugin = plugin
        self._where = where
        self._function = self._watched(function)
        self._seconds = seconds
        self._now = now
        self._at_work = False
        self._failures_in_row = 0
        self._rest_seconds = FIRST_REST_SECONDS
        self._rests_until = 0.0

    @property
    def rests(self) -> bool:
        return self._now() < self._rests_until

    async def call(self, *arguments: object, accept: Callable[[Any], T]) -> T:
        """What `accept` makes of what the function returns; `accept` raises PluginFault at no answer.

        A failure is logged and counted, and raised all the same. A Refuse is none.
        """
        try:
            if self._at_work:
                # A thread cannot be ended from outside; a second one beside it would not fare better.
                raise PluginFault("an earlier call has still not ended")
            self._at_work = True
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
            "a plugin's hook fails too often and is not asked for a while",
            plugin=self.plugin.name,
            hook=self._where,
            seconds=self._rest_seconds,
        )
        self._rest_seconds = min(2 * self._rest_seconds, LONGEST_REST_SECONDS)

    def _watched(self, function: HookFunction) -> HookFunction:
        """The function, and a note when it has really ended: one that was given up may still be at work."""

        async def coroutine(*arguments: object) -> object:
            try:
                return await function(*arguments)
            finally:
                self._at_work = False

        def plain(*arguments: object) -> object:
            try:
                return function(*arguments)
            finally:
                self._at_work = False

        return coroutine if inspect.iscoroutinefunction(function) else plain

"""`app`, the first argument of a plugin's `activate`: registers its handlers and hooks."""

from collections.abc import Callable, Sequence
from typing import Any

from daemon.plugins.errors import PluginFault
from daemon.plugins.routing import HandlerEntry, Rule, rules
from store import User

HookFunction = Callable[..., Any]
"""An async or a plain function; a plain one runs in a thread."""


class PluginApp:
    """Collects a plugin's handlers and hooks. They take effect together when `activate` has returned."""

    def __init__(self, name: str, user: User) -> None:
        self.name = name
        """The plugin's name."""
        self.user = user
        """The user in whose name the daemon stores sightings; hooks pass it to the context."""
        self._rules: list[Rule] = []
        self._before: list[HookFunction] = []
        self._after: list[HookFunction] = []
        self._sealed = False

    def add_handlers(self, host_pattern: str, handlers: Sequence[HandlerEntry]) -> None:
        """Add handlers for requests to hosts that match the regular expression, such as `".*"`.

        Each one is `(path, class)` or `(path, class, options)`. The path is a regular expression for the
        whole path, whose groups are the method's arguments, or contains names in braces:
        `/persons/([0-9]+)`, `/persons/{person_id}`. `options` go to the handler's `initialize`.

        Raises:
            ValueError, TypeError: a pattern, a class or a method is invalid.
        """
        self._open()
        self._rules += rules(self.name, host_pattern, handlers)

    def add_sighting_hook(
        self, *, before: HookFunction | None = None, after: HookFunction | None = None
    ) -> None:
        """Add a hook that gets every sighting.

        Args:
            before: `before(sighting, face)`, before anything is stored. It may return a dictionary, which the
                stored face keeps in `face["annotations"][<plugin>]`; set `face["meta"]`; or refuse the
                sighting with `raise Refuse("reason")`. Its other changes to the face are ignored.
            after: `after(stored)` with a `store.spool.recording.StoredSighting`, once it is stored.
        """
        self._open()
        if before is None and after is None:
            raise ValueError("a sighting hook is a function before, or after, or both")
        for function in (before, after):
            if function is not None and not callable(function):
                raise TypeError(f"a hook is a function, not {function!r:.100}")
        self._before += [before] if before else []
        self._after += [after] if after else []

    def sealed(self) -> tuple[list[Rule], list[HookFunction], list[HookFunction]]:
        """Accept no more, and return the rules, the hooks before and the hooks after storing."""
        self._sealed = True
        return self._rules, self._before, self._after

    def _open(self) -> None:
        if self._sealed:
            raise PluginFault("handlers and hooks are added in activate, which has returned")

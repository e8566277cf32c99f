"""The object `app` that a plugin's `activate` gets: registers handlers, hooks and subscribers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from daemon.events.types import Event
from daemon.plugins.errors import PluginFault
from daemon.plugins.routing import HandlerEntry, Rule, rules
from store import User

HookFunction = Callable[..., Any]
"""An async or a plain function; a plain one runs in a thread."""


@dataclass(frozen=True, slots=True)
class Subscriber:
    """A function and the types of events that it receives."""

    function: HookFunction
    types: Sequence[type[Event]]


@dataclass(frozen=True, slots=True)
class Registered:
    """Everything that a plugin registered."""

    rules: Sequence[Rule]
    before: Sequence[HookFunction]
    after: Sequence[HookFunction]
    subscribers: Sequence[Subscriber]


class PluginApp:
    """Collects a plugin's handlers, hooks and subscribers, which take effect when `activate` has returned."""

    def __init__(self, name: str, user: User) -> None:
        self.name = name
        """The plugin's name."""
        self.user = user
        """The user who owns the stored sightings; hooks pass it to the context."""
        self._rules: list[Rule] = []
        self._before: list[HookFunction] = []
        self._after: list[HookFunction] = []
        self._subscribers: list[Subscriber] = []
        self._sealed = False

    def add_handlers(self, host_pattern: str, handlers: Sequence[HandlerEntry]) -> None:
        """Add handlers for requests to hosts that match the regular expression, such as `".*"`.

        Each one is `(path, class)` or `(path, class, options)`. The path is a regular expression for the
        whole path, whose groups are the method's arguments, or contains names in braces:
        `/persons/([0-9]+)`, `/persons/{person_id}`. `options` go to the handler's `initialize`.

        Raises:
            ValueError, TypeError: a pattern, a class or a method is invalid.
        """
        self._require_open()
        self._rules += rules(self.name, host_pattern, handlers)

    def add_sighting_hook(
        self, *, before: HookFunction | None = None, after: HookFunction | None = None
    ) -> None:
        """Add a hook that receives every sighting.

        Args:
            before: `before(sighting, face)`, before anything is stored. It may return a dictionary, which the
                stored face keeps in `face["annotations"][<plugin>]`; set `face["meta"]`; or refuse the
                sighting with `raise Refuse("reason")`. Its other changes to the face are ignored.
            after: `after(stored)` with a `store.spool.stored_sighting.StoredSighting`, once it is stored.
        """
        self._require_open()
        if before is None and after is None:
            raise ValueError("a sighting hook is a function before, or after, or both")
        for function in (before, after):
            if function is not None and not callable(function):
                raise TypeError(f"a hook is a function, not {function!r:.100}")
        self._before += [before] if before else []
        self._after += [after] if after else []

    def subscribe(self, function: HookFunction, *types: type[Event]) -> None:
        """Call `function(event)` for each event of these types, which are classes of `daemon.events`.

        Calls are made in the background and in order; a slow function misses the oldest events.

        Raises:
            ValueError, TypeError: no type is given, a type is not a class of events, or `function` is not
            callable.
        """
        self._require_open()
        if not types:
            raise ValueError("name the types of events to subscribe to, such as daemon.events.VisitUpdated")
        for kind in types:
            if not (isinstance(kind, type) and issubclass(kind, Event)):
                raise TypeError(f"a subscriber names classes of daemon.events, not {kind!r:.100}")
        if not callable(function):
            raise TypeError(f"a subscriber is a function, not {function!r:.100}")
        self._subscribers.append(Subscriber(function, types))

    def seal(self) -> "Registered":
        """Stop accepting registrations, and return those made so far."""
        self._sealed = True
        return Registered(self._rules, self._before, self._after, self._subscribers)

    def _require_open(self) -> None:
        if self._sealed:
            raise PluginFault("handlers and hooks are added in activate, which has returned")

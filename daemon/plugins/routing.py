"""Routes requests to plugins' handlers by host and path patterns, as Tornado does."""

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from daemon.plugins.handlers import METHODS, BaseHandler

OWN_PATHS = ("/", "/metrics", "/healthz", "/readyz", "/status", "/doctor", "/facens/rebuild")
"""Paths of the daemon, which take precedence over those of plugins."""
OWN_TREES = ("/api/v1", "/v0", "/v1")
"""The same, with all paths below them."""

_TEMPLATE = re.compile(r"\{([A-Za-z_]\w*)\}")

HandlerEntry = tuple[str, type[BaseHandler]] | tuple[str, type[BaseHandler], Mapping[str, Any]]
"""A path pattern, the handler's class, and options for its `initialize`."""


@dataclass(frozen=True)
class Rule:
    """Maps a host and path pattern to a handler."""

    plugin: str
    host: re.Pattern[str]
    path: re.Pattern[str]
    handler: type[BaseHandler]
    options: Mapping[str, Any]

    def arguments(self, host: str, path: str) -> tuple[tuple[str, ...], dict[str, str]] | None:
        """The handler's positional and named arguments; None if the rule does not match."""
        if not self.host.fullmatch(host) or not (found := self.path.fullmatch(path)):
            return None
        if named := found.groupdict(default=""):
            return (), named
        return tuple(group or "" for group in found.groups()), {}


def rules(plugin: str, host: str, entries: Sequence[HandlerEntry]) -> list[Rule]:
    """The rules for the arguments of `add_handlers`.

    Raises:
        ValueError, TypeError: an entry is invalid.
    """
    return [_rule(plugin, host, entry) for entry in entries]


def _rule(plugin: str, host: str, entry: HandlerEntry) -> Rule:
    if not isinstance(entry, tuple | list) or len(entry) not in (2, 3):
        raise TypeError(f"a handler is given as (path, class) or (path, class, options), not {entry!r:.100}")
    path, handler, options = (*entry, {})[:3]
    if not isinstance(path, str) or not path.lstrip("^").startswith("/"):
        raise ValueError(f"a path begins with /, not as {path!r:.100}")
    if path in OWN_PATHS or f"{path.lstrip('^')}/".startswith(tuple(f"{tree}/" for tree in OWN_TREES)):
        raise ValueError(f"the path {path} is the daemon's own")
    if not isinstance(options, Mapping):
        raise TypeError(f"the options of the handler at {path} are a mapping, not {type(options).__name__}")
    _check_class(path, handler)
    return Rule(
        plugin, _compiled(host), _compiled(_TEMPLATE.sub(r"(?P<\1>[^/]+)", path)), handler, dict(options)
    )


def _check_class(path: str, handler: object) -> None:
    if not isinstance(handler, type) or not issubclass(handler, BaseHandler):
        raise TypeError(f"the handler at {path} is a class that inherits BaseHandler, not {handler!r:.100}")
    methods = {name: getattr(handler, name) for name in METHODS if hasattr(handler, name)}
    if not methods:
        raise TypeError(f"{handler.__name__} at {path} has no method get, post, put, patch or delete")
    for name, method in methods.items():
        if not inspect.iscoroutinefunction(method):
            raise TypeError(f"{handler.__name__}.{name} at {path} has to be an async def")


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except (re.error, TypeError) as error:
        raise ValueError(f"{pattern!r:.100} is not a regular expression: {error}") from error

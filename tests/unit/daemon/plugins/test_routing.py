"""Paths of plugins, in Tornado's manner."""

import pytest

from daemon.plugins import BaseHandler, PluginApp
from daemon.plugins.errors import PluginFault
from daemon.plugins.routing import rules
from store import User


class Handler(BaseHandler):
    async def get(self):
        return "here"


class Nothing(BaseHandler):
    pass


class Blocking(BaseHandler):
    def get(self):
        return "no coroutine"


@pytest.mark.parametrize(
    ("pattern", "path", "arguments"),
    [
        ("/persons", "/persons", ((), {})),
        ("/persons", "/persons/", None),
        ("/persons", "/x/persons", None),
        ("/persons/([0-9]+)", "/persons/12", (("12",), {})),
        ("/persons/([0-9]+)", "/persons/x", None),
        (r"^/a/(\w+)/b/(\w+)$", "/a/1/b/2", (("1", "2"), {})),
        (r"/a(?:/(\w+))?", "/a", (("",), {})),
        (
            "/persons/{person_id}/at/{camera}",
            "/persons/7/at/hall",
            ((), {"person_id": "7", "camera": "hall"}),
        ),
        ("/persons/{person_id}", "/persons/7/8", None),
        (r"/day/(?P<day>[0-9]{4}-[0-9]{2})", "/day/2026-03", ((), {"day": "2026-03"})),
    ],
)
def test_paths_are_matched_whole_and_give_arguments(pattern, path, arguments):
    """Groups are positional arguments, names in braces and named groups are named ones."""
    (rule,) = rules("p", ".*", [(pattern, Handler)])
    assert rule.arguments("localhost", path) == arguments


@pytest.mark.parametrize(
    ("host", "fits"), [("box.example.org", True), ("example.org.evil.net", False), ("", False)]
)
def test_the_host_has_to_match_too(host, fits):
    """The host pattern is for the whole name."""
    (rule,) = rules("p", r"(.*\.)?example\.org", [("/x", Handler)])
    assert (rule.arguments(host, "/x") is not None) is fits


@pytest.mark.parametrize(
    ("host", "entry", "message"),
    [
        (".*", ("persons", Handler), "begins with /"),
        (".*", ("/persons/(", Handler), "not a regular expression"),
        ("*", ("/persons", Handler), "not a regular expression"),
        (".*", ("/metrics", Handler), "the daemon's own"),
        (".*", ("/api/v1/persons", Handler), "the daemon's own"),
        (".*", ("^/v1/.*", Handler), "the daemon's own"),
        (".*", ("/v0", Handler), "the daemon's own"),
        (".*", ("/x", "Handler"), "inherits BaseHandler"),
        (".*", ("/x", dict), "inherits BaseHandler"),
        (".*", ("/x", Nothing), "no method get"),
        (".*", ("/x", Blocking), "async def"),
        (".*", ("/x", Handler, 5), "mapping"),
        (".*", "/x", "path, class"),
    ],
)
def test_a_handler_that_cannot_work_is_refused_when_it_is_added(host, entry, message):
    """The plugin's author learns at once what is wrong."""
    with pytest.raises((ValueError, TypeError), match=message):
        rules("p", host, [entry])


def test_nothing_is_added_after_activate():
    """A plugin that was given up cannot come in by the back door."""
    app = PluginApp("late", User({"token": "t"}))
    app.add_handlers(".*", [("/x", Handler)])
    assert len(app.seal().rules) == 1
    with pytest.raises(PluginFault, match="activate, which has returned"):
        app.add_handlers(".*", [("/y", Handler)])
    with pytest.raises(PluginFault, match="activate, which has returned"):
        app.add_sighting_hook(before=print)


@pytest.mark.parametrize("hooks", [{}, {"before": 5}, {"after": "print"}])
def test_a_hook_is_a_function(hooks):
    """Anything else is refused when it is added."""
    with pytest.raises((ValueError, TypeError), match="function"):
        PluginApp("p", User({"token": "t"})).add_sighting_hook(**hooks)

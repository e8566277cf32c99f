"""Finding plugin files, and loading one."""

import sys
from pathlib import Path

import pytest

from daemon.plugins import loader
from daemon.plugins.errors import PluginFault
from daemon.plugins.plugin import MAX_REASONS, OTHER_REASONS, Plugin


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def test_all_files_are_plugins_but_those_put_aside(tmp_path):
    """Every NAME.py, by name; files that begin with _, other files and odd names are none."""
    folder = write(tmp_path / "a", two="", one="", _helper="")
    (folder / "notes.txt").write_text("")
    (folder / "od d.py").write_text("")
    assert [plugin.name for plugin in loader.find([folder], [])] == ["one", "two"]


def test_the_first_folder_wins(tmp_path):
    """A file of the same name in a later folder is not used; a missing folder is skipped."""
    first, second = write(tmp_path / "a", one=""), write(tmp_path / "b", one="", two="")
    found = loader.find([tmp_path / "nowhere", first, second], [])
    assert [plugin.path for plugin in found] == [first / "one.py", second / "two.py"]


def test_only_enabled_plugins_are_used_and_missing_ones_named(tmp_path):
    """An enabled name without a file is a failed plugin that says where it was looked for."""
    folder = write(tmp_path / "a", one="", two="")
    gone, two = loader.find([folder], ["two", "gone"])
    assert (two.name, two.state) == ("two", "loading")
    assert (gone.name, gone.state) == ("gone", "failed")
    assert f"there is no gone.py in {folder}" in gone.error


def test_a_file_is_loaded_once_and_gives_activate(tmp_path):
    """Dataclasses in a plugin's file work, which need the module under its name."""
    text = """
from __future__ import annotations
from dataclasses import dataclass
@dataclass
class Thing:
    size: int = 3
def activate(app, ctx, options):
    return Thing().size
"""
    folder = write(tmp_path / "a", thing=text)
    assert loader.load(Plugin("thing", folder / "thing.py"))(None, None, {}) == 3


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("x = 1", PluginFault, r"no function activate\(app, ctx, options\)"),
        ("activate = 5", PluginFault, "no function activate"),
        ("def activate(:", SyntaxError, "invalid syntax"),
        ("import no_such_module_anywhere", ModuleNotFoundError, "no_such_module_anywhere"),
        ("raise SystemExit(3)", SystemExit, "3"),
    ],
)
def test_a_file_that_is_no_plugin_leaves_nothing_behind(tmp_path, text, kind, message):
    """What is wrong is raised, and the half-loaded module is not kept."""
    folder = write(tmp_path / "a", broken=text)
    with pytest.raises(kind, match=message):
        loader.load(Plugin("broken", folder / "broken.py"))
    assert "facend_plugin_broken" not in sys.modules


def test_reasons_are_counted_but_not_without_end():
    """A reason with a number in it makes ever new ones; after some they are counted together."""
    plugin = Plugin("p", None)
    for number in range(MAX_REASONS + 5):
        plugin.count_refusal(f"reason\n{number}")
    assert plugin.count_refusal("reason 0") == "reason 0"
    assert plugin.refused["reason 0"] == 2
    assert plugin.refused[OTHER_REASONS] == 5
    assert len(plugin.refused) == MAX_REASONS + 1


@pytest.mark.parametrize(
    ("arguments", "original"),
    [
        ("app, ctx, options", False),
        ("app, ctx, options, more=None", False),
        ("*arguments", False),
        ("app, ctx, plugin_name, plugin_source", True),
        ("app, ctx, plugin_name, plugin_source=None", True),
        ("app, ctx, name, source", True),
    ],
)
def test_activate_takes_options_or_name_and_source(arguments: str, original: bool) -> None:
    """The original's four arguments work as well as our three."""
    assert loader.takes_name_and_source(eval(f"lambda {arguments}: None")) is original  # noqa: S307


@pytest.mark.parametrize("arguments", ["", "app", "app, ctx", "app, ctx, a, b, c", "app, ctx, *, options"])
def test_activate_with_other_arguments_is_refused(arguments: str) -> None:
    """Before it is called; the message shows both ways."""
    with pytest.raises(PluginFault, match="plugin_source"):
        loader.takes_name_and_source(eval(f"lambda {arguments}: None"))  # noqa: S307


def test_plugins_import_packages_of_their_own(tmp_path, monkeypatch):
    """From the folder of the settings; a package of Facend is not replaced, a missing folder is no fault."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    packages = write(tmp_path / "packages", only_for_plugins="VALUE = 7", click="VALUE = 8")
    loader.add_packages(tmp_path / "missing")
    loader.add_packages(packages)
    loader.add_packages(packages)
    assert sys.path.count(str(packages)) == 1
    folder = write(
        tmp_path / "plugins",
        needs="import click\nimport only_for_plugins\n"
        "def activate(app, ctx, options):\n    return only_for_plugins.VALUE, click\n",
    )
    (plugin,) = loader.find([folder], [])
    value, click = loader.load(plugin)(None, None, None)
    assert value == 7
    assert hasattr(click, "Command")

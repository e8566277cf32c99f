"""Finds and loads plugin files."""

import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import structlog

from daemon.plugins.errors import PluginFault
from daemon.plugins.plugin import Plugin

log = structlog.get_logger(__name__)

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
"""A plugin's name is a key in face documents and settings."""


def add_packages(folder: Path | None) -> None:
    """Let plugins import the packages in this folder. Facend's own take precedence."""
    if folder is None or str(folder) in sys.path:
        return
    if not folder.is_dir():
        log.error("the folder of the plugins' packages does not exist", folder=str(folder))
        return
    # The end of the path: an older version of a package there must not replace Facend's own.
    sys.path.append(str(folder))
    importlib.invalidate_caches()


def find(folders: Sequence[Path], enabled: Sequence[str]) -> list[Plugin]:
    """The plugins in the folders, ordered by name; an empty `enabled` means all.

    If two folders have files with the same name, the first folder wins. An enabled plugin without a file is
    included, as failed.
    """
    files: dict[str, Path] = {}
    for folder in folders:
        for path in _files(folder):
            if path.stem in files:
                log.warning("a plugin exists twice", plugin=path.stem, used=str(files[path.stem]))
            else:
                files[path.stem] = path
    names = sorted(set(enabled) or files)
    plugins = [Plugin(name, files.get(name)) for name in names]
    for plugin in plugins:
        if plugin.path is None:
            places = ", ".join(str(folder) for folder in folders) or "plugins.dirs, which is empty"
            plugin.unusable("load", PluginFault(f"there is no {plugin.name}.py in {places}"))
    return plugins


def _files(folder: Path) -> Iterable[Path]:
    """Plugin files in a folder. Files whose names begin with _ are skipped: they are modules or disabled."""
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix == ".py" and path.is_file())
    except OSError as error:
        log.error("a folder of plugins cannot be read", folder=str(folder), reason=error.strerror)
        return
    for path in paths:
        if path.stem.startswith("_"):
            continue
        if not _NAME.fullmatch(path.stem):
            log.error(
                "a file is not a plugin: its name has characters other than A-Z a-z 0-9 _ -", path=str(path)
            )
            continue
        yield path


def load(plugin: Plugin) -> Callable[..., Any]:
    """Import the plugin's file and return its `activate`. Exceptions of the file propagate.

    Raises:
        PluginFault: the file is not a plugin.
    """
    name = f"facend_plugin_{plugin.name}"
    spec = importlib.util.spec_from_file_location(name, plugin.path)
    if spec is None or spec.loader is None:
        raise PluginFault(f"{plugin.path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and pickle look a module up by its name while it is being loaded.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        return _activate(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise


def _activate(module: ModuleType) -> Callable[..., Any]:
    activate = getattr(module, "activate", None)
    if not callable(activate):
        raise PluginFault("it has no function activate(app, ctx, options)")
    function: Callable[..., Any] = activate
    return function


def takes_name_and_source(activate: Callable[..., Any]) -> bool:
    """Whether the signature is `activate(app, ctx, plugin_name, plugin_source)`, as in findface-facenapi.

    Raises:
        PluginFault: the signature is neither this nor `activate(app, ctx, options)`.
    """
    signature = inspect.signature(activate)
    if {"plugin_name", "plugin_source"} & signature.parameters.keys():
        wanted = 4
    else:
        wanted = next((number for number in (3, 4) if _accepts(signature, number)), 0)
    if not wanted or not _accepts(signature, wanted):
        raise PluginFault(
            f"activate takes (app, ctx, options), or (app, ctx, plugin_name, plugin_source), not {signature}"
        )
    return wanted == 4


def _accepts(signature: inspect.Signature, arguments: int) -> bool:
    try:
        signature.bind(*range(arguments))
    except TypeError:
        return False
    return True

"""`CommandContext`, the settings and user of a command on the store, and the options that set them."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from daemon.cli import secrets as cli_secrets
from daemon.cli.options import (
    data_dir_option,
    json_option,
    settings_option,
    token_file_option,
    user_option,
)
from daemon.config import settings_file
from daemon.config.settings import Settings
from daemon.errors import StartError
from daemon.runtime import data_folder, logs

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CommandContext:
    """The settings, user and output format that a command runs with."""

    settings: Settings
    user: str = ""
    """Id or token; empty for this box's user."""
    as_json: bool = False


def store_options(
    *, user: bool = True, as_json: bool = True
) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Add the shared options to a command on the store, which gets a `CommandContext` as first argument."""
    with_user = user

    def decorate(function: Callable[..., T]) -> Callable[..., T]:
        @functools.wraps(function)
        def wrapped(
            settings_path: Path | None,
            data_dir: Path | None,
            user: str = "",
            as_json: bool = False,
            **options: Any,  # noqa: ANN401  the command's own options
        ) -> T:
            settings = _settings(settings_path, data_dir)
            data_folder.require_own(settings.data_dir)
            logs.configure(settings.log_format, "warning")
            if with_user:
                file = options.pop("user_token_file")
                user = cli_secrets.token(user, file, instead="use --token-file or FACEND_TOKEN")
            return function(CommandContext(settings, user, as_json), **options)

        shared = [
            settings_option,
            data_dir_option,
            *([user_option, token_file_option] if with_user else []),
            *([json_option] if as_json else []),
        ]
        for option in reversed(shared):
            wrapped = option(wrapped)
        return wrapped

    return decorate


def settings_or_defaults(settings_path: Path | None) -> Settings:
    """The settings, or the defaults if there is no settings file: measuring needs no configured box."""
    if settings_path is None:
        try:
            settings_path = settings_file.find()
        except StartError:
            settings_path = None
    settings = settings_file.load(settings_path) if settings_path else Settings()
    logs.configure(settings.log_format, "warning")
    return settings


def _settings(settings_path: Path | None, data_dir: Path | None) -> Settings:
    if data_dir is None:
        return settings_file.load(settings_path or settings_file.find())
    settings = settings_file.load(settings_path) if settings_path else Settings()
    return settings.model_copy(update={"data_dir": data_dir.absolute()})

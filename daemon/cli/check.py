"""`facend check`: validates the settings."""

import asyncio
import json
from pathlib import Path

import click

from daemon.cli.options import json_option, settings_option
from daemon.config import settings_file
from daemon.config.settings import Settings
from daemon.errors import StartError
from daemon.runtime.disk_space import require_possible_reserve


@click.command()
@settings_option
@json_option
@click.option(
    "--connect", "try_connection", is_flag=True, help="Also log in to the MongoDB server of store.url."
)
def check(settings_path: Path | None, as_json: bool, try_connection: bool) -> None:
    """Validate the settings and print the effective values.

    Secrets are masked. Errors are printed one per line, with exit status 2. With --connect, exit status 1
    means that the settings are valid and the MongoDB server cannot be used.
    """
    path = settings_path or settings_file.find()
    shown = settings_file.effective(path)
    settings = settings_file.load(path)
    require_possible_reserve(settings.disk_folders, path)
    if as_json:
        click.echo(json.dumps(shown, indent=2, ensure_ascii=False, default=str))
    else:
        for key, value in _flatten(shown):
            click.echo(f"{key} = {json.dumps(value, ensure_ascii=False, default=str)}")
        click.echo(f"{path}: valid", err=True)
    if try_connection:
        click.echo(_test_connection(settings), err=True)


def _test_connection(settings: Settings) -> str:
    """Log in to the MongoDB server and read from the database. Returns the result as a sentence.

    Raises:
        StartError: the server cannot be used; the message has the remedy.
    """
    if not settings.store.url.get_secret_value():
        return "store: a private MongoDB, which `facend run` starts; there is no server to connect to"
    from store import StoreError  # slow to import
    from store.mongo.client import try_connection

    try:
        return f"store: {asyncio.run(try_connection(settings.store))}"
    except StoreError as error:
        raise StartError(f"store: {error}") from error


def _flatten(value: object, prefix: str = "") -> list[tuple[str, object]]:
    """`section.key` and value for each leaf; cameras are numbered from 1."""
    if isinstance(value, dict) and value:
        return [
            leaf for key, inner in value.items() for leaf in _flatten(inner, f"{prefix}.{key}".lstrip("."))
        ]
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [leaf for n, inner in enumerate(value, 1) for leaf in _flatten(inner, f"{prefix}[{n}]")]
    return [(prefix, value)]


COMMANDS = (check,)

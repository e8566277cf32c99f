"""KEY=VALUE arguments, which set values of documents."""

import tomllib
from typing import Any

import click

from daemon.cli import secrets as cli_secrets
from pipeline.base.redaction import redact_text

changes_argument = click.argument("changes", metavar="[KEY=VALUE]...", nargs=-1)


def parsed_changes(changes: tuple[str, ...]) -> dict[str, Any]:
    """Parse KEY=VALUE: a TOML value, else a string; None if the value is empty."""
    read: dict[str, Any] = {}
    for change in map(cli_secrets.change, changes):
        key, equals, text = change.partition("=")
        if not equals:
            raise click.UsageError(f"{redact_text(change)}: expected KEY=VALUE")
        try:
            read[key] = tomllib.loads(f"value = {text}")["value"] if text else None
        except tomllib.TOMLDecodeError:
            read[key] = text
    return read

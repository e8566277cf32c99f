"""`facend check`: validates the settings."""

import json
from pathlib import Path

import click

from daemon.cli.options import json_option, settings_option
from daemon.config import file as settings_file
from daemon.runtime.disk_space import require_possible_reserve


@click.command()
@settings_option
@json_option
def check(settings_path: Path | None, as_json: bool) -> None:
    """Validate the settings and print the effective values.

    Secrets are masked. Errors are printed one per line, with exit status 2.
    """
    path = settings_path or settings_file.find()
    shown = settings_file.effective(path)
    require_possible_reserve(settings_file.load(path).disk_folders, path)
    if as_json:
        click.echo(json.dumps(shown, indent=2, ensure_ascii=False, default=str))
        return
    for key, value in _flat(shown):
        click.echo(f"{key} = {json.dumps(value, ensure_ascii=False, default=str)}")
    click.echo(f"{path}: valid", err=True)


def _flat(value: object, prefix: str = "") -> list[tuple[str, object]]:
    """`section.key` and value for each leaf; cameras are numbered from 1."""
    if isinstance(value, dict) and value:
        return [leaf for key, inner in value.items() for leaf in _flat(inner, f"{prefix}.{key}".lstrip("."))]
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [leaf for n, inner in enumerate(value, 1) for leaf in _flat(inner, f"{prefix}[{n}]")]
    return [(prefix, value)]


COMMANDS = (check,)

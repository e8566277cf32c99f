"""Options that several commands share."""

from pathlib import Path

import click

settings_option = click.option(
    "--settings",
    "settings_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The settings file; FACEND_SETTINGS, ./settings.toml or /etc/facend/settings.toml unless told.",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

WARNINGS = "facend.warnings"
"""Where click's context keeps what is said once the command has done its work; an error stands alone."""

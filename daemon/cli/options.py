"""Options that several commands share. This module imports nothing slow."""

from pathlib import Path

import click

settings_option = click.option(
    "--settings",
    "settings_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Settings file. Default: $FACEND_SETTINGS, ./settings.toml or /etc/facend/settings.toml.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Data folder to use instead of the one in the settings, for example data/demo.",
)
user_option = click.option(
    "--user",
    metavar="ID",
    default="",
    envvar="FACEND_TOKEN",
    show_envvar=True,
    help="Act as the user with this id or token. Default: this box's own user.",
)
token_file_option = click.option(
    "--token-file",
    "user_token_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Read the user's token from this file.",
)
password_option = click.option(
    "--password-stdin",
    is_flag=True,
    help="Read the password from standard input; on a terminal, prompt for it.",
)
yes_option = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
folder_argument = click.Path(path_type=Path, file_okay=False)

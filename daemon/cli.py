"""The command `facend`."""

import asyncio
import faulthandler
import json
import logging
from pathlib import Path

import click

from daemon import (
    cli_calibrate,
    cli_cameras,
    cli_doctor,
    cli_enroll,
    cli_evaluate,
    cli_export,
    cli_galleries,
    cli_models,
    cli_persons,
    cli_users,
    logs,
    settings_file,
)
from daemon.app import Application
from daemon.cli_options import json_option, settings_option
from daemon.ending import leave
from daemon.errors import StartError
from daemon.notify import Systemd
from daemon.visit_lines import log_visit

INTERRUPTED = 130  # 128 + SIGINT, as shells count
STDERR = 2


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="facend")
def facend() -> None:
    """Cameras in, persons out."""


@facend.command()
@settings_option
def run(settings_path: Path | None) -> None:
    """Read the cameras and store who visits, until a signal comes."""
    # A crash in a library, and the watchdog's SIGABRT, leave in the log where each thread was.
    faulthandler.enable(file=STDERR)
    path = settings_path or settings_file.find()
    settings = settings_file.load(path, service=True)
    logs.configure(settings.log_format, settings.log_level)
    application = Application(
        settings, Systemd(), log_visit, reread=lambda: settings_file.load(path, service=True)
    )
    asyncio.run(application.run())


@facend.command()
@settings_option
@json_option
def check(settings_path: Path | None, as_json: bool) -> None:
    """Say what is wrong with the settings, or show what is in effect, secrets masked."""
    path = settings_path or settings_file.find()
    shown = settings_file.masked(settings_file.load(path))
    if as_json:
        click.echo(json.dumps(shown, indent=2, ensure_ascii=False, default=str))
        return
    for key, value in _flat(shown):
        click.echo(f"{key} = {json.dumps(value, ensure_ascii=False, default=str)}")
    click.echo(f"{path}: good", err=True)


@facend.command()
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("data/demo"),
    show_default=True,
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=None, help="HTTP port; the usual one unless told."
)
def demo(data_dir: Path, port: int | None) -> None:
    """Show the main job on a camera made of a clip: six people who walk by again and again."""
    from daemon import demo as show  # its clip maker loads what no other command needs

    show.run(data_dir, port)


for room in (
    cli_cameras,
    cli_models,
    cli_users,
    cli_galleries,
    cli_persons,
    cli_enroll,
    cli_export,
    cli_doctor,
    cli_evaluate,
    cli_calibrate,
):
    for command in room.COMMANDS:
        facend.add_command(command)


def main() -> None:
    try:
        status = _status_of_command()
    except Exception:
        logging.getLogger(__name__).exception("this is a fault in Facend itself")
        status = 1
    leave(status)


def _status_of_command() -> int:
    """Run the command that was asked for; its exit status."""
    try:
        facend.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return 2
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except StartError as error:
        for line in str(error).splitlines():
            click.echo(f"facend: {line}", err=True)
        return error.exit_status
    return 0


def _flat(value: object, prefix: str = "") -> list[tuple[str, object]]:
    """`section.key` and value for each leaf; cameras are counted from 1."""
    if isinstance(value, dict) and value:
        return [leaf for key, inner in value.items() for leaf in _flat(inner, f"{prefix}.{key}".lstrip("."))]
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [leaf for n, inner in enumerate(value, 1) for leaf in _flat(inner, f"{prefix}[{n}]")]
    return [(prefix, value)]

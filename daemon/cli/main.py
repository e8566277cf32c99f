"""The command `facend`.

Nothing is imported here that a command may not need: `facend --help` shows at once.
"""

import errno
import logging
import os
import signal
import sys
from pathlib import Path
from typing import ClassVar

import click

from daemon.cli.lazy import LazyGroup, Room
from daemon.cli.options import WARNINGS, settings_option
from daemon.errors import StartError, printable
from daemon.runtime import terminal
from daemon.runtime.signals import Terminated, leave, terminated, uninterrupted
from pipeline.base.redaction import redact_text

INTERRUPTED = 128 + signal.SIGINT  # as shells count
TERMINATED = 128 + signal.SIGTERM
SERVICES = {"run", "demo"}
NOT_OURS = (errno.EACCES, errno.EPERM)
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Facend(LazyGroup):
    """All commands, with the first sentence of what each does."""

    rooms: ClassVar = {
        "bench": Room("daemon.cli.bench", "How fast this machine is."),
        "calibrate": Room("daemon.cli.calibrate", "Measure thresholds on your own labelled pictures."),
        "cameras": Room("daemon.cli.cameras", "List the cameras of the settings, and how they are."),
        "check": Room("daemon.cli.check", "Say what is wrong with the settings, or show what is in effect."),
        "doctor": Room("daemon.cli.doctor", "Look at the box, and whether everything stored agrees."),
        "enroll": Room("daemon.cli.enroll", "Enrol people from folders of pictures."),
        "evaluate": Room("daemon.cli.evaluate", "Measure how well persons are told apart."),
        "export": Room("daemon.cli.export", "Print what is stored, one JSON object a line."),
        "facens": Room("daemon.cli.facens", "The facen storage: how it is, and moving it."),
        "galleries": Room("daemon.cli.galleries", "Named sets of faces."),
        "models": Room("daemon.cli.models", "List the model packs, with licence and thresholds."),
        "persons": Room("daemon.cli.person_changes", "Those who were seen or enrolled."),
        "probe": Room("daemon.cli.probe", "Connect to a camera and say what it sends."),
        "users": Room("daemon.cli.users", "Those who own faces and may ask for them."),
    }


@click.group(cls=Facend, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="facend")
def facend() -> None:
    """Cameras in, persons out."""


@facend.result_callback()
@click.pass_context
def warn(context: click.Context, _result: object) -> None:
    """Say after the command what a person should know."""
    for warning in context.meta.get(WARNINGS, ()):
        click.echo(warning, err=True)


@facend.command()
@settings_option
def run(settings_path: Path | None) -> None:
    """Read the cameras and store who visits, until a signal comes."""
    with uninterrupted():
        from daemon import service

    service.run(settings_path)


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
    with uninterrupted():
        from daemon.demo import demo as show

    show.run(data_dir, port)


def main() -> None:
    os.umask(0o077)  # pictures, facens and passwords are for their owner alone, in whatever file
    _stand_in_for_closed_files()
    terminal.protect()
    if sys.argv[1:2] == ["run"]:
        # A wish to read the settings again, which come anyway while it loads. Left alone it would end the
        # process, and systemd takes that for a clean end.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, terminated)
    try:
        status = _status_of_command()
    except Exception:
        if not logging.getLogger().handlers:
            from daemon.runtime import logs

            logs.configure()
        logging.getLogger(__name__).exception("this is a fault in Facend itself")
        status = 1
    leave(status)


def _stand_in_for_closed_files() -> None:
    """Where standard error or output is closed, the next file that is opened would get what is printed."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free, which is this one
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 - for as long as the process runs
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115 - the same


def _status_of_command() -> int:
    """Run the command that was asked for; its exit status."""
    try:
        facend.main(standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return 2
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except Terminated:
        # A service does what it was asked to, also before it runs; work was broken off.
        return 0 if SERVICES.intersection(sys.argv[1:2]) else TERMINATED
    except OSError as error:
        if error.errno in NOT_OURS and isinstance(error.filename, str | bytes):
            from daemon.runtime.data_folder import advice

            path = Path(os.fsdecode(error.filename))
            click.echo(f"facend: {printable(f'{path}: {error.strerror}{advice(path)}')}", err=True)
            return 1
        if error.errno not in NO_ROOM:
            raise
        click.echo(f"facend: cannot write {error.filename or 'the output'} ({error.strerror})", err=True)
        return 1
    except StartError as error:
        for line in error.lines:
            click.echo(f"facend: {redact_text(line, pairs=False)}", err=True)
        return error.exit_status
    return 0

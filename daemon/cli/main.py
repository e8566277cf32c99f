"""The command `facend`.

Commands import slow modules themselves, so that `facend --help` is fast.
"""

import errno
import logging
import os
import signal
import sys
from pathlib import Path
from typing import ClassVar

import click

from daemon.cli.groups import CommandGroup, LazyCommand
from daemon.cli.options import settings_option
from daemon.cli.output import echo_warnings
from daemon.errors import StartError
from daemon.runtime import terminal
from daemon.runtime.signals import Terminated, leave, terminated, uninterrupted
from pipeline.base.control_characters import visible
from pipeline.base.redaction import redact_text

INTERRUPTED = 128 + signal.SIGINT  # as in shells
TERMINATED = 128 + signal.SIGTERM
SERVICES = {"run", "demo"}
NO_PERMISSION = (errno.EACCES, errno.EPERM)
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Facend(CommandGroup):
    """All commands, with the first sentence of the help of each."""

    lazy_commands: ClassVar = {
        "accounts": LazyCommand("daemon.cli.accounts", "List and change the accounts of people who sign in."),
        "bench": LazyCommand("daemon.cli.bench", "Measure how fast this machine is."),
        "calibrate": LazyCommand("daemon.cli.calibrate", "Measure thresholds on your own labelled pictures."),
        "cameras": LazyCommand("daemon.cli.cameras", "List the cameras and their state, and change them."),
        "check": LazyCommand("daemon.cli.check", "Validate the settings and print the effective values."),
        "doctor": LazyCommand("daemon.cli.doctor", "Check this box and the stored data for problems."),
        "enroll": LazyCommand("daemon.cli.enroll", "Enrol people from a folder of pictures."),
        "events": LazyCommand("daemon.cli.events", "Show events as they occur."),
        "evaluate": LazyCommand("daemon.cli.evaluate", "Measure recognition accuracy."),
        "export": LazyCommand(
            "daemon.cli.export", "Print stored faces or persons as JSON, one object per line."
        ),
        "facens": LazyCommand("daemon.cli.facens", "Inspect, rebuild or migrate the facen storage."),
        "galleries": LazyCommand("daemon.cli.galleries", "List and change galleries, named sets of faces."),
        "lists": LazyCommand("daemon.cli.lists", "Create and drop watch lists, and put persons on them."),
        "models": LazyCommand("daemon.cli.models", "List the model packs, with licence and thresholds."),
        "mqtt": LazyCommand("daemon.cli.mqtt", "Test the MQTT broker of the settings."),
        "persons": LazyCommand("daemon.cli.person_changes", "List, show, correct and erase persons."),
        "probe": LazyCommand(
            "daemon.cli.probe", "Connect to a camera and report what it sends, and whether its view suits."
        ),
        "rules": LazyCommand(
            "daemon.cli.rules", "List, add and remove watch rules, and show the visits that match them."
        ),
        "tokens": LazyCommand("daemon.cli.accounts", "List, issue and revoke API tokens for programs."),
        "users": LazyCommand("daemon.cli.users", "List, add, disable and enable users."),
        "visits": LazyCommand("daemon.cli.visits", "List visits: who was where, and when."),
        "webhooks": LazyCommand(
            "daemon.cli.webhook_changes",
            "List, add, remove and test webhooks, and show and repeat their deliveries.",
        ),
    }


@click.group(cls=Facend, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="facend")
def facend() -> None:
    """Camera ingestion daemon: cameras in, persons out.

    Facend reads cameras, stores a face for every visit of a person, and recognises persons who come back.
    """


@facend.result_callback()
@click.pass_context
def print_warnings(context: click.Context, _result: object) -> None:
    """Print the warnings of a command that succeeded."""
    echo_warnings(context)


@facend.command()
@settings_option
def run(settings_path: Path | None) -> None:
    """Run the daemon: read the cameras and store visits until SIGTERM or Ctrl-C."""
    with uninterrupted():
        from daemon import service

    service.run(settings_path)


@facend.command()
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("data/demo"),
    show_default=True,
    help="Folder for the clip and everything that the demo stores.",
)
@click.option("--port", type=click.IntRange(0, 65535), default=None, help="HTTP port. Default: 9464.")
def demo(data_dir: Path, port: int | None) -> None:
    """Run the daemon on a built-in clip and print a line for each visit.

    In the clip, six people walk past a camera again and again.
    """
    with uninterrupted():
        from daemon.demo import demo as demonstration

    demonstration.run(data_dir, port)


def main() -> None:
    os.umask(0o077)  # every new file is private to its owner
    _reopen_closed_streams()
    terminal.protect()
    if sys.argv[1:2] == ["run"]:
        # SIGHUP reloads the settings, which are about to be read. Its default action would end the process,
        # which systemd regards as a clean exit.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, terminated)
    try:
        status = _run_command()
    except Exception:
        if not logging.getLogger().handlers:
            from daemon.runtime import logs

            logs.configure()
        logging.getLogger(__name__).exception("unexpected error: this is a bug in Facend")
        status = 1
    leave(status)


def _reopen_closed_streams() -> None:
    """Open /dev/null for closed standard streams. Otherwise the next file opened would receive the output."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free descriptor, which is this number
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 - open until the process ends
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115 - the same


def _run_command() -> int:
    """Run the command in the arguments; returns its exit status."""
    try:
        facend.main(standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return 2
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except Terminated:
        # A service that is stopped has succeeded; any other command was interrupted.
        return 0 if SERVICES.intersection(sys.argv[1:2]) else TERMINATED
    except OSError as error:
        if error.errno in NO_PERMISSION and isinstance(error.filename, str | bytes):
            from daemon.runtime.data_folder import advice

            path = Path(os.fsdecode(error.filename))
            problem = visible(f"{path}: {error.strerror}{advice(path)}", one_line=True)
            click.echo(f"facend: {problem}", err=True)
            return 1
        if error.errno not in NO_SPACE:
            raise
        click.echo(f"facend: cannot write {error.filename or 'the output'} ({error.strerror})", err=True)
        return 1
    except StartError as error:
        for line in error.lines:
            click.echo(f"facend: {redact_text(line, pairs=False)}", err=True)
        return error.exit_status
    return 0

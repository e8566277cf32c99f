"""Runs commands of `facend` in the process of the tests."""

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator

import pytest
import structlog

from daemon.cli import main as cli

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def restored_logging() -> Iterator[None]:
    """Restores what commands change in the whole process: logging, umask and the handler of SIGTERM."""
    root = logging.getLogger()
    handlers, level, structured = root.handlers[:], root.level, structlog.get_config()
    mask = os.umask(0o022)
    os.umask(mask)
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)
    os.umask(mask)
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**structured)


@pytest.fixture
def facend(
    restored_logging: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Runs a command and returns its exit status, standard output and standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["facend", *map(str, arguments)])
        # `leave` ends the process at once if other threads run, as they do in the tests' process.
        monkeypatch.setattr(cli, "leave", sys.exit)
        monkeypatch.setattr(cli.terminal, "protect", lambda: None)  # pytest's streams cannot be replaced
        try:
            cli.main()
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
        return status, *capsys.readouterr()

    return run

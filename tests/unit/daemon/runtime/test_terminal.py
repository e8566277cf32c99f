import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
import pytest
import structlog

from daemon.cli.output import echo_table
from daemon.runtime import logs, terminal

STEERING = [
    "\x1b[2J",
    "\x1b]0;title\x07",
    "\x9b2J",
    "\x07",
    "\x08",
    "\u202e",
    "\u2066",
    "\u200b",
    "\x7f",
    "\ufeff",
]


@contextmanager
def output() -> Iterator[io.BytesIO]:
    """What reaches a terminal behind the standard streams of a command."""
    reached = io.BytesIO()
    before = sys.stdout, sys.stderr
    sys.stdout = io.TextIOWrapper(reached, encoding="utf-8", write_through=True)
    sys.stderr = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    terminal.protect()
    try:
        yield reached
    finally:
        sys.stdout, sys.stderr = before


def printed(show: Callable[[], object]) -> str:
    with output() as reached:
        show()
        sys.stdout.flush()
        return reached.getvalue().decode()


@pytest.mark.parametrize("steering", STEERING)
def test_nothing_that_is_printed_steers_the_terminal(steering: str) -> None:
    """Neither by click nor by print; what was meant is still to be seen, and JSON means what it did."""
    name = f"Eve{steering}"

    def show() -> None:
        click.echo(f"person {name}", color=True)
        print(name)
        click.echo(json.dumps({"name": name}, ensure_ascii=False), color=True)

    text = printed(show)
    assert steering[0] not in text
    lines = text.splitlines()
    assert all(line.startswith(("person Eve\\", "Eve\\")) for line in lines[:2])
    assert json.loads(lines[2]) == {"name": name}


@pytest.mark.parametrize("text", ["Zoë\tmünchen\n", "山田\n", "👩\u200d🔬\n", "\r 50 %"])
def test_ordinary_text_is_printed_as_it_is(text: str) -> None:
    """Umlauts, other scripts, emoji, tabs, lines, and progress that is drawn over."""
    assert printed(lambda: print(text, end="")) == text


def test_a_cell_of_a_table_stays_in_its_line() -> None:
    """A line feed in a name forges no row."""
    shown = printed(lambda: echo_table([("1", "Eve\n2  Bob\tfriend"), ("3", "Ann")]))
    assert shown.splitlines() == ["1  Eve\\n2  Bob\\tfriend", "3  Ann"]


@pytest.mark.usefixtures("restored_logging")
@pytest.mark.parametrize("log_format", ["console", "journal", "json"])
def test_no_log_line_steers_the_terminal(
    log_format: logs.LogFormat, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither events nor values, nested ones, errors and tracebacks."""
    logs.configure(log_format, "info")
    said = "".join(STEERING)
    structlog.get_logger("x").info("camera is down", detail=said, tried=[said], by={"a": said})
    logging.getLogger("library").warning("server said %s", f"{said}\nfacend: all is well")
    try:
        raise OSError(said)
    except OSError:
        structlog.get_logger("x").exception("broken", error=OSError(said))
    shown = capsys.readouterr().err
    assert "camera is down" in shown
    assert not any(steering[0] in shown for steering in STEERING)
    assert not any(line.startswith("facend:") for line in shown.splitlines())

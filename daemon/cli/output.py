"""Output of commands: JSON, tables, progress bars, and warnings at the end."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import date, datetime, tzinfo

import click

from daemon.runtime.terminal import unescaped
from pipeline.base.control_characters import visible

_WARNINGS = "facend.warnings"


IDS = frozenset({"id", "face_id", "person_id", "person", "other", "best_face"})
"""Keys of ids of faces and persons, which are text in JSON: jq and JavaScript lose digits above 2^53."""
LISTS_OF_IDS = frozenset({"persons", "lookalikes"})


def to_json(value: object, indent: int | None = 2) -> str:
    """JSON of plain values, dates, times and ObjectIds; NaN and infinity become null, and ids are text."""
    value = _with_text_ids(value)

    def dump(what: object, *, allow_nan: bool) -> str:
        return json.dumps(what, indent=indent, ensure_ascii=False, allow_nan=allow_nan, default=_plain)

    try:
        return dump(value, allow_nan=False)
    except ValueError:
        plain = json.loads(dump(value, allow_nan=True), parse_constant=lambda _: None)
        return dump(plain, allow_nan=False)


def _with_text_ids(value: object) -> object:
    if isinstance(value, dict):
        return {key: _id_text(key, _with_text_ids(part)) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_with_text_ids(part) for part in value]
    return value


def _id_text(key: object, value: object) -> object:
    if isinstance(value, list) and key in LISTS_OF_IDS:
        return [str(part) if isinstance(part, int) else part for part in value]
    return str(value) if isinstance(value, int) and not isinstance(value, bool) and key in IDS else value


def _plain(value: object) -> object:
    from bson import ObjectId  # `facend --help` starts faster without it

    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, ObjectId):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def echo_table(rows: list[tuple[object, ...]], zone: tzinfo | None = None) -> None:
    """Print rows in aligned columns; times in `zone`, default: the machine's time zone."""
    texts = [[_cell(value, zone) for value in row] for row in rows]
    widths = [max(len(row[column]) for row in texts) for column in range(len(texts[0]))] if texts else []
    for row in texts:
        line = (text.ljust(width) for text, width in zip(row, widths, strict=True))
        click.echo("  ".join(line).rstrip())


def _cell(value: object, zone: tzinfo | None) -> str:
    if isinstance(value, datetime):
        with suppress(OverflowError):  # a malformed document may have the first or the last day of all years
            value = value.astimezone(zone)
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return "–" if value is None else visible(str(value), one_line=True)


@contextmanager
def progress(length: int, label: str) -> Iterator[Callable[..., None]]:
    """A progress bar on stderr if that is a terminal; results go to stdout.

    Yields a function of the number of steps done and, optionally, the name of the current item.
    """
    if not sys.stderr.isatty():
        yield lambda _steps, _item="": None
        return
    bar: click._termui_impl.ProgressBar[str]
    with click.progressbar(
        length=length,
        label=label,
        file=unescaped(sys.stderr),
        item_show_func=lambda item: visible(item, one_line=True) if item else None,
    ) as bar:
        yield bar.update


def warn_at_end(warning: str) -> None:
    """Print a warning on stderr once the command has succeeded. If it fails, only the error is printed."""
    if (context := click.get_current_context(silent=True)) is not None:
        context.meta.setdefault(_WARNINGS, []).append(warning)


def echo_warnings(context: click.Context) -> None:
    for warning in context.meta.get(_WARNINGS, ()):
        click.echo(warning, err=True)

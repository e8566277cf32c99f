"""Log formats: text for a terminal, lines with priorities for the journal, JSON."""

import logging
import math
import os
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from daemon.runtime.terminal import unescaped
from pipeline.base.control_characters import visible
from pipeline.base.redaction import redact

LogFormat = Literal["auto", "console", "journal", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

JOURNAL_PRIORITY = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
"""sd-daemon(3): the journal stores a line that begins with <N> with that syslog priority."""


WARNINGS = "py.warnings"
"""The logger to which `logging.captureWarnings` sends what libraries pass to `warnings.warn`."""
CHATTY = (
    "apscheduler",
    "httpcore",
    "httpx",
    "pymongo",
    "asyncio",
    "uvicorn.access",
    "uvicorn.error",
    "PIL",
    WARNINGS,
)
"""Loggers of libraries that log each event, even if clients cause thousands of events, or log URLs with
secrets."""
REPEAT_SECONDS = 10.0
KEPT_LINES = 256


def configure(log_format: LogFormat = "auto", level: LogLevel = "info") -> None:
    """Send all log lines of the process and its libraries to standard error in one format."""
    chosen = _format_for_stderr() if log_format == "auto" else log_format
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(unescaped(sys.stderr) if chosen == "console" else sys.stderr)
    handler.addFilter(RepeatLimiter())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(chosen)],
        )
    )
    logging.captureWarnings(True)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for chatty in CHATTY:
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))


class RepeatLimiter(logging.Filter):
    """Passes a repeated line of a chatty library once per `REPEAT_SECONDS`, with the number of repeats."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith(CHATTY):
            return True
        key = (record.name, _template(record))
        passed_at, repeats = self._seen.get(key, (-math.inf, 0))
        if record.created - passed_at < REPEAT_SECONDS:
            self._seen[key] = (passed_at, repeats + 1)
            return False
        if len(self._seen) >= KEPT_LINES:
            self._seen.clear()
        self._seen[key] = (record.created, 0)
        if repeats:
            record.msg, record.args = f"{record.getMessage()} (and {repeats} more like it)", None
        return True


def _template(record: logging.LogRecord) -> str:
    """The text that repeated lines have in common; for a warning, its location in the code, which comes
    first."""
    text = str(record.msg)
    return text.partition(": ")[0] if record.name == WARNINGS else text[:80]


def _format_for_stderr() -> LogFormat:
    return "journal" if "JOURNAL_STREAM" in os.environ and not sys.stderr.isatty() else "console"


def _renderers(log_format: LogFormat) -> list[Processor]:
    if log_format == "json":
        return [
            structlog.processors.format_exc_info,
            mask_secrets,
            structlog.processors.JSONRenderer(sort_keys=True, ensure_ascii=False),
            _visible_line,
        ]
    if log_format == "journal":
        return [structlog.processors.format_exc_info, _local_times, mask_secrets, _journal_line]
    colours = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    return [
        structlog.processors.format_exc_info,
        _local_times,
        mask_secrets,
        _visible_values,
        structlog.dev.ConsoleRenderer(
            colors=colours, timestamp_key="time", pad_event_to=0, pad_level=False, sort_keys=False
        ),
    ]


def mask_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Mask known secrets, and values whose key names a secret, in every line."""
    return {key: redact(_plain(value), key) for key, value in event.items()}


def _plain(value: object) -> object:
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {value}"
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(inner) for inner in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return value if value is None or isinstance(value, str | bool | int | float) else str(value)


def _visible_line(_logger: WrappedLogger, _method: str, line: EventDict) -> str:
    return visible(str(line))  # the output of the previous renderer


def _visible_values(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Escape control characters from outside before colours are added."""
    shown: EventDict = {key: _visible(value) for key, value in event.items()}
    shown["event"] = str(shown["event"]).replace("\n", "\n    ")
    shown.pop("logger", None)
    return shown


def _visible(value: object) -> object:
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {key: _visible(inner) for key, inner in value.items()}
    return [_visible(inner) for inner in value] if isinstance(value, list) else value


def _local_times(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Convert times to the machine's time zone, as in the journal; today's times have no date."""
    event["time"] = datetime.fromisoformat(event["time"])
    return {key: _local_time(value) if isinstance(value, datetime) else value for key, value in event.items()}


def _local_time(time: datetime) -> str:
    local = time.astimezone()
    return f"{local:%H:%M:%S}" if local.date() == datetime.now().astimezone().date() else f"{local:%F %T}"


def _journal_line(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """`<priority>event key=value …`; the journal adds the time.

    Line breaks and control characters are escaped: the journal hides entries that are not text.
    """
    event.pop("time", None)
    event.pop("logger", None)
    priority = JOURNAL_PRIORITY.get(str(event.pop("level", "info")), 6)
    exception = event.pop("exception", None)
    text = str(event.pop("event", ""))
    pairs = " ".join(f"{key}={value}" for key, value in event.items())
    first, *more = f"{text} {pairs}".strip().splitlines() or [""]
    lines = [first, *(f"    {line}" for line in more), *(str(exception).splitlines() if exception else ())]
    return "\n".join(f"<{priority}>{visible(line, one_line=True)}" for line in lines)

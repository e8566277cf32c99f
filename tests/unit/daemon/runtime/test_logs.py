import json
import logging
import time
import warnings
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
import structlog

from daemon.runtime import logs

pytestmark = pytest.mark.usefixtures("restored_logging")


def test_json_lines_carry_the_event_and_its_values(capsys):
    """With log_format json every line is one object."""
    logs.configure("json", "info")
    structlog.get_logger("x").warning("camera is down", camera="door", reason="refused")
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["camera"], line["reason"]) == ("camera is down", "door", "refused")
    assert line["level"] == "warning"
    assert line["time"].endswith("Z")


def test_journal_lines_begin_with_their_priority(capsys):
    """Under systemd the journal learns the severity from each line's first characters."""
    logs.configure("journal", "info")
    try:
        raise ValueError("no")
    except ValueError:
        structlog.get_logger("x").exception("job failed", job="retention")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "<3>job failed job=retention"
    assert all(line.startswith("<3>") for line in lines)
    assert lines[-1] == "<3>ValueError: no"


def test_nobody_outside_begins_a_line_of_the_journal(capsys):
    """What a camera said keeps the priority of its line; what is no text is shown escaped."""
    logs.configure("journal", "info")
    structlog.get_logger("x").info("camera gives no frames", detail="no\n<0>gone\x1b[2J\n", attempts=1)
    assert capsys.readouterr().err.splitlines() == [
        "<6>camera gives no frames detail=no",
        "<6>    <0>gone\\u001b[2J",
        "<6>     attempts=1",
    ]


@pytest.mark.parametrize("log_format", ["console", "journal", "json"])
def test_no_line_shows_the_password_of_a_url(log_format, capsys):
    """Whatever a room passes along, credentials in URLs are masked, in tracebacks too."""
    logs.configure(log_format, "info")
    url = "rtsp://admin:s3cret@10.0.0.7/stream"
    log = structlog.get_logger("x")
    log.info("opening", url=url, error=OSError(f"cannot open {url}"), tried=[url], by_camera={"door": url})
    logging.getLogger("library").warning("failed at %s", url)
    try:
        raise OSError(url)
    except OSError:
        log.exception("broken")
    shown = capsys.readouterr().err
    assert "10.0.0.7" in shown
    assert "s3cret" not in shown


def test_a_level_hides_what_is_below_it(capsys):
    """log_level warning leaves information out."""
    logs.configure("console", "warning")
    structlog.get_logger("x").info("quiet")
    structlog.get_logger("x").warning("loud")
    shown = capsys.readouterr().err
    assert "loud" in shown
    assert "quiet" not in shown


def test_a_library_that_repeats_itself_is_cut_short(capsys):
    """Of thousands of equal lines one appears, and the next one says how many there were; ours all appear."""
    logs.configure("json", "info")
    library = logging.getLogger("asyncio")
    for number in range(1000):
        library.error("socket.accept() out of system resource %d", number)
        library.error("another line")
    for _ in range(3):
        structlog.get_logger("daemon.app").warning("ours")
    events = [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()]
    assert events == ["socket.accept() out of system resource 0", "another line", "ours", "ours", "ours"]
    later = logging.LogRecord("asyncio", logging.ERROR, "", 0, "another line", (), None)
    later.created += logs.REPEAT_SECONDS + 1
    library.handle(later)
    assert json.loads(capsys.readouterr().err)["event"] == "another line (and 999 more like it)"


def test_warnings_of_libraries_are_limited_lines_of_the_log(capsys):
    """A damaged picture makes Pillow warn of each of its fields, past the format of the log."""
    logs.configure("json", "info")
    for number in range(1000):
        warnings.warn(f"bad field {number}", UserWarning, stacklevel=1)
    (line,) = capsys.readouterr().err.splitlines()
    assert "bad field 0" in json.loads(line)["event"]


@pytest.mark.parametrize(
    ("log_format", "today", "earlier"),
    [
        ("json", "{now:%Y-%m-%dT%H:%M:%S}+00:00", "2026-03-01T12:00:00+00:00"),
        ("console", "{local:%H:%M:%S}", "2026-03-01 21:00:00"),
        ("journal", "{local:%H:%M:%S}", "2026-03-01 21:00:00"),
    ],
)
def test_all_times_of_a_line_are_in_one_time_zone(log_format, today, earlier, monkeypatch, capsys):
    """UTC in JSON, elsewhere the machine's time zone; the date is shown unless it is today's."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        logs.configure(log_format, "info")
        now = datetime.now(UTC).replace(microsecond=0)
        earlier_time = datetime(2026, 3, 1, 12, tzinfo=UTC)
        structlog.get_logger("x").info("visit", at=now, before=earlier_time)
        line = capsys.readouterr().err
    finally:
        monkeypatch.undo()
        time.tzset()
    shown = today.format(now=now, local=now.astimezone(ZoneInfo("Asia/Tokyo")))
    assert shown in line
    assert earlier in line
    if log_format == "console":
        assert line[:2] == shown[:2]

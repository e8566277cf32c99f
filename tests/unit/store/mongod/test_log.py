"""What of mongod's own log is passed on, and what is told of its end."""

import json

from structlog.testing import capture_logs

from pipeline.base.log_limiter import LOG_INTERVAL_SECONDS
from store.mongod.log import MongodLog, RepeatThrottle


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def line(level: str, text: str, /, **attributes: object) -> bytes:
    return json.dumps({"s": level, "msg": text, "attr": attributes}).encode() + b"\n"


FULL = line(
    "E",
    "WiredTiger error message",
    error=28,
    message={"msg": "journal/log.1: pwrite", "error_str": "No space left on device", "error_code": 28},
)


def test_reports_the_storage_engines_error_text() -> None:
    """The error text is logged rather than its number; lines of the stack trace are skipped."""
    output = MongodLog(RepeatThrottle())
    with capture_logs() as lines:
        output.add_line(FULL)
        output.add_line(line("F", "\n\n***aborting after fassert() failure\n\n"))
        for number in range(40):
            output.add_line(line("I", "Frame", frame={"a": number}))
        output.add_line(b"libcurl.so.4: no such file\n")
    reason = "WiredTiger error message No space left on device (journal/log.1: pwrite)"
    assert [entry["message"] for entry in lines] == [reason, "***aborting after fassert() failure"]
    assert output.last_lines() == f"{reason}; ***aborting after fassert() failure; libcurl.so.4: no such file"
    output.clear()
    assert output.last_lines() == ""


def test_logs_equal_lines_once_a_minute() -> None:
    """The next line has the number of repeats; other lines are not delayed."""
    clock = Clock()
    output = MongodLog(RepeatThrottle(clock))
    with capture_logs() as lines:
        for _ in range(5):
            output.add_line(FULL)
            clock.now += 10
        output.add_line(line("E", "another"))
        clock.now += LOG_INTERVAL_SECONDS - 50
        output.add_line(FULL)
        clock.now += 2 * LOG_INTERVAL_SECONDS
        output.add_line(FULL)
    assert [entry["message"][:7] for entry in lines] == ["WiredTi", "another", "WiredTi", "WiredTi"]
    assert [entry.get("repeats_not_logged", 0) for entry in lines] == [0, 0, 4, 0]


def test_remembers_a_bounded_number_of_texts() -> None:
    """Above the maximum, the oldest texts are forgotten."""
    repeats = RepeatThrottle(Clock())
    for number in range(1000):
        assert repeats.due(str(number)) == {}
    assert repeats.due("999") is None
    assert repeats.due("0") == {}


def test_accepts_any_line() -> None:
    """Plain text, broken JSON, JSON that is no object, and attributes that are none."""
    output = MongodLog(RepeatThrottle())
    odd = [b"", b"\n", b"{", b"[1]", b"\xff\xfe", b'{"s": 1, "msg": null}']
    for one in (*odd, b'{"attr": [1]}', b'{"attr": {"message": {}}}'):
        output.add_line(one)

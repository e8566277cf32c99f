"""What of mongod's own log is passed on, and what is told of its end."""

import json

from structlog.testing import capture_logs

from store.mongod.log import REPEAT_SECONDS, MongodLog, RepeatThrottle


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


def test_the_storage_engines_reason_is_told_in_words() -> None:
    """Its number alone would say nothing; the stack that follows says nothing to an operator either."""
    said = MongodLog(RepeatThrottle())
    with capture_logs() as lines:
        said.add_line(FULL)
        said.add_line(line("F", "\n\n***aborting after fassert() failure\n\n"))
        for number in range(40):
            said.add_line(line("I", "Frame", frame={"a": number}))
        said.add_line(b"libcurl.so.4: no such file\n")
    reason = "WiredTiger error message No space left on device (journal/log.1: pwrite)"
    assert [one["message"] for one in lines] == [reason, "***aborting after fassert() failure"]
    assert said.last_words() == f"{reason}; ***aborting after fassert() failure; libcurl.so.4: no such file"
    said.begin()
    assert said.last_words() == ""


def test_what_is_said_again_is_logged_once_a_minute() -> None:
    """With the number of those that were left out; other lines are not held back by it."""
    clock = Clock()
    said = MongodLog(RepeatThrottle(clock))
    with capture_logs() as lines:
        for _ in range(5):
            said.add_line(FULL)
            clock.now += 10
        said.add_line(line("E", "another"))
        clock.now += REPEAT_SECONDS - 50
        said.add_line(FULL)
        clock.now += 2 * REPEAT_SECONDS
        said.add_line(FULL)
    assert [one["message"][:7] for one in lines] == ["WiredTi", "another", "WiredTi", "WiredTi"]
    assert [one.get("repeats_not_logged", 0) for one in lines] == [0, 0, 4, 0]


def test_memory_of_what_was_said_is_bounded() -> None:
    """A server that never says the same twice does not fill it; the newest are known."""
    repeats = RepeatThrottle(Clock())
    for number in range(1000):
        assert repeats.due(str(number)) == {}
    assert repeats.due("999") is None
    assert repeats.due("0") == {}


def test_lines_of_any_form_are_taken() -> None:
    """Plain text, broken JSON, JSON that is no object, attributes that are none."""
    said = MongodLog(RepeatThrottle())
    odd = [b"", b"\n", b"{", b"[1]", b"\xff\xfe", b'{"s": 1, "msg": null}']
    for one in (*odd, b'{"attr": [1]}', b'{"attr": {"message": {}}}'):
        said.add_line(one)

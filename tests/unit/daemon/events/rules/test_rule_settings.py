"""[[rules]] and watch lists: what is accepted, and what a mistake is answered with."""

from datetime import UTC, datetime, time

import pytest
from pydantic import ValidationError

from daemon.config.settings import Settings
from daemon.events.rules.settings import RuleSettings, WatchListSettings
from store.collections.watch_lists import WatchList

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "expected a condition: who, list"),
        ({"who": "stranger"}, "'anyone', 'unnamed', 'named', 'new' or 'friend'"),
        ({"who": "new", "list": "staff"}, "this rule never matches"),
        ({"who": "new", "not_seen_days": 3}, "this rule never matches"),
        ({"outside": "7-19"}, "expected hours HH:MM-HH:MM"),
        ({"outside": "24:00-07:00"}, "expected hours HH:MM-HH:MM"),
        ({"outside": "07:00-07:00"}, "two different times"),
        ({"who": "new", "cooldown_minutes": 20_000}, "less than or equal to 10080"),
        ({"who": "new", "name": "a b"}, "pattern"),
        ({"who": "new", "when": "night"}, "not permitted"),
    ],
)
def test_a_mistake_in_a_rule_is_named(changes: dict[str, object], message: str) -> None:
    """Each one says what was expected; a rule that cannot match, or always does, is one."""
    with pytest.raises(ValidationError) as error:
        RuleSettings.model_validate({"name": "rule", **changes})
    assert message in str(error.value)


def test_two_rules_need_two_names() -> None:
    """A name is the rule's in events and commands."""
    with pytest.raises(ValidationError, match="used twice: new"):
        Settings.model_validate({"rules": [{"name": "new", "who": "new"}] * 2})


@pytest.mark.parametrize(
    ("hours", "local", "outside"),
    [
        ("07:00-19:30", "06:59", True),
        ("07:00-19:30", "07:00", False),
        ("07:00-19:30", "19:30", True),
        ("22:00-06:00", "23:00", False),
        ("22:00-06:00", "05:59", False),
        ("22:00-06:00", "12:00", True),
        ("", "12:00", True),
    ],
)
def test_hours(hours: str, local: str, outside: bool) -> None:
    """The first minute is inside, the last one outside; hours may span midnight."""
    rule = RuleSettings(name="rule", who="named", outside=hours)
    assert rule.is_outside(time.fromisoformat(local)) is outside


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colour": "red"}, "pattern"),
        ({"min_confidence": 2}, "less than or equal to 1"),
        ({"valid_from": "2026-03-01T00:00:00"}, "timezone"),
        ({"valid_from": "2026-03-02T00:00:00Z", "valid_until": "2026-03-01T00:00:00Z"}, "before valid_until"),
    ],
)
def test_a_mistake_in_a_list_is_named(changes: dict[str, object], message: str) -> None:
    """Times need a zone, and an order."""
    with pytest.raises(ValidationError) as error:
        WatchListSettings.model_validate({"name": "staff", **changes})
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("changes", "applies"),
    [
        ({}, True),
        ({"cameras": ("door",)}, True),
        ({"cameras": ("yard",)}, False),
        ({"min_confidence": 0.9}, True),
        ({"min_confidence": 0.91}, False),
        ({"valid_from": AT}, True),
        ({"valid_until": AT}, False),
    ],
)
def test_a_list_applies_where_everything_fits(changes: dict[str, object], applies: bool) -> None:
    """Camera, confidence and time; a list's own confidence restricts this list alone."""
    watch_list = WatchList(name="staff", **changes)  # type: ignore[arg-type]  # a table of arguments
    assert watch_list.applies("door", 0.9, AT) is applies

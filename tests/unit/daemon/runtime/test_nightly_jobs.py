"""When a nightly job has missed its time."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from daemon.runtime.nightly_jobs import missed
from daemon.runtime.nightly_trigger import NightlyTrigger

BERLIN = ZoneInfo("Europe/Berlin")
AT_HALF_PAST_FOUR = NightlyTrigger(time(4, 30), BERLIN)


@pytest.mark.parametrize(
    ("last", "now", "verdict"),
    [
        ("2026-05-04 04:30", "2026-05-04 18:00", False),  # it ran last night
        ("2026-05-03 04:30", "2026-05-04 04:29", False),  # its time has not come yet
        ("2026-05-03 04:30", "2026-05-04 05:00", False),  # it may have begun a moment ago
        ("2026-05-03 04:30", "2026-05-04 05:31", True),  # the box was off
        ("2026-05-03 09:00", "2026-05-04 08:00", True),  # it was made up for yesterday, and missed again
        ("2026-05-04 09:00", "2026-05-04 18:00", False),  # it was made up for today
        ("2025-01-01 04:30", "2026-05-04 04:00", True),  # the box lay in a drawer
        (
            "2026-05-04 04:30",
            "1970-01-02 04:00",
            True,
        ),  # the clock is wrong now; an hour later it may be right
        ("2099-05-04 04:30", "2026-05-04 04:00", True),  # it was wrong then
        ("2026-10-24 04:30", "2026-10-25 04:29", False),  # that night had 25 hours
        ("2026-10-24 04:30", "2026-10-25 06:00", True),
    ],
)
def test_a_job_has_missed_its_time(last: str, now: str, verdict: bool) -> None:
    """An hour after it, not before; by the site's clock, summer time included."""
    then, here = (datetime.fromisoformat(text).replace(tzinfo=BERLIN).astimezone(UTC) for text in (last, now))
    assert missed(AT_HALF_PAST_FOUR, then + timedelta(seconds=0.01), here) is verdict

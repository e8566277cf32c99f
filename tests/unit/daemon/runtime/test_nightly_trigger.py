"""Times of the day in the nights when clocks change."""

from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.runtime.nightly_trigger import NightlyTrigger

ZONES = ("Europe/Berlin", "America/New_York", "America/Havana", "Australia/Lord_Howe", "Africa/Cairo", "UTC")


def runs(at: time, zone: str, start: str, days: int) -> list[datetime]:
    """Times at which a scheduler that looks every ten minutes runs the job."""
    trigger, here = NightlyTrigger(at, ZoneInfo(zone)), ZoneInfo(zone)
    now = datetime.fromisoformat(start).replace(tzinfo=UTC)
    end = now + timedelta(days=days)
    due, found = trigger.get_next_fire_time(None, now), []
    while (now := now + timedelta(minutes=10)) < end:
        while due <= now:
            found.append(due.astimezone(here))
            due = trigger.get_next_fire_time(due, now)
    return found


@pytest.mark.parametrize("at", [time(2), time(2, 30), time(3), time(0, 30)])
def test_a_repeated_hour_runs_a_job_once(at: time) -> None:
    """In October, at the first of both times."""
    found = runs(at, "Europe/Berlin", "2026-10-24T12:00", 3)
    assert [moment.day for moment in found] == [25, 26, 27]
    assert all(moment.time() == at and not moment.fold for moment in found)


def test_an_hour_that_is_left_out_runs_a_job_once() -> None:
    """In March; the next night it runs at its time again."""
    found = runs(time(2, 30), "Europe/Berlin", "2026-03-28T12:00", 3)
    assert [f"{moment:%d %H:%M}" for moment in found] == ["29 03:30", "30 02:30", "31 02:30"]


@given(
    st.times().map(lambda at: at.replace(second=0, microsecond=0)),
    st.sampled_from(ZONES),
    st.sampled_from(["2026-03-01T12:00", "2026-04-01T12:00", "2026-10-20T12:00", "2026-11-01T00:00"]),
)
def test_every_day_runs_a_job_once(at: time, zone: str, start: str) -> None:
    """Wherever the box is, and whenever its clocks change."""
    days = [moment.date() for moment in runs(at, zone, start, 12)]
    assert len(days) >= 11
    assert all(after - before == timedelta(days=1) for before, after in pairwise(days))


def test_the_fold_of_the_time_of_day_is_ignored() -> None:
    """It would choose the other one of two offsets in a night in which clocks change."""
    found = runs(time(0, 0, fold=1), "America/Havana", "2026-03-01T12:00", 12)
    assert len({moment.date() for moment in found}) == len(found) >= 11


def test_a_start_between_two_equal_times_does_not_run_a_job_again() -> None:
    """It ran before the restart."""
    now = datetime(2026, 10, 25, 0, 45, tzinfo=UTC)
    assert NightlyTrigger(time(2, 30), ZoneInfo("Europe/Berlin")).get_next_fire_time(None, now).day == 26

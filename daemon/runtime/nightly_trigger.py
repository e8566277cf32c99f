"""A trigger for jobs at a local time of the day, exactly once a day."""

from datetime import UTC, datetime, time, timedelta, tzinfo

from apscheduler.triggers.base import BaseTrigger


class NightlyTrigger(BaseTrigger):  # type: ignore[misc] # APScheduler has no types
    """Fires once a day at a local time, also when clocks change.

    APScheduler's CronTrigger fires twice if the hour is repeated, and skips a day after a skipped hour. A job
    at a skipped time runs as long after midnight as usual.
    """

    def __init__(self, at: time, zone: tzinfo) -> None:
        self._at = at.replace(fold=0)  # the earlier one of two equal local times
        self._zone = zone

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """The next time from `now` on, after the previous one."""
        day = now.astimezone(self._zone).date() - timedelta(days=1)
        while True:
            # A repeated or skipped local time has the offset from before the change.
            due = datetime.combine(day, self._at, self._zone).astimezone(UTC)
            if due >= now and (previous_fire_time is None or due > previous_fire_time):
                return due
            day += timedelta(days=1)

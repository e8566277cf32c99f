"""The friend rule, which counts the calendar days on which a camera saw a person."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from bson import ObjectId

from store.mongo.client import Collection


@dataclass(frozen=True, slots=True)
class FriendRule:
    """A friend was seen on at least `count` calendar days of the last `interval_days`."""

    count: int
    interval_days: int
    zone: ZoneInfo

    def interval(self, now: datetime) -> list[date]:
        """The calendar days that count, up to today."""
        today = now.astimezone(self.zone).date()
        return [today - timedelta(days=back) for back in range(self.interval_days - 1, -1, -1)]

    def is_friend(self, days: Iterable[date]) -> bool:
        return len(set(days)) >= self.count


async def days_seen(
    faces: Collection, owner: ObjectId, person_id: int, cam_id: str, days: list[date], zone: ZoneInfo
) -> list[date]:
    """Those of the consecutive days on which the camera saw the person."""
    midnights = [_midnight(day, zone) for day in [*days, days[-1] + timedelta(days=1)]]
    seen = {
        "owner": owner,
        "person_id": person_id,
        "cam_id": cam_id,
        "timestamp": {"$gte": midnights[0], "$lt": midnights[-1]},
    }
    steps: list[dict[str, Any]] = [
        {"$match": seen},
        {"$bucket": {"groupBy": "$timestamp", "boundaries": midnights}},
    ]
    starts = {bucket["_id"] async for bucket in faces.aggregate(steps)}
    return [day for day, start in zip(days, midnights, strict=False) if start in starts]


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    """The start of the day in UTC; also where clocks go forward at midnight."""
    return datetime.combine(day, time.min, zone).astimezone(UTC)

"""Visits: lists by many filters, one visit, and who else was there."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bson import ObjectId

from store.collections.users import UserArgument
from store.context import Context
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error
from store.mongo.query_limits import PLAIN_SECONDS
from store.queries.people import names_of, utc
from store.visits.visit_document import VisitKey

MAX_TIME_MS = int(PLAIN_SECONDS * 1000)
NEARBY = timedelta(minutes=5)
MAX_NEARBY = 100


@dataclass(frozen=True, slots=True)
class Visit:
    """One continuous stay in front of one camera."""

    id: str
    cam_id: str
    start: datetime
    end: datetime
    faces: int
    """Number of stored faces."""
    best_face: int
    """Id of the face with the best quality."""
    quality: float | None
    """Quality score of that face."""
    person_id: int | None
    person_name: str | None
    persons: list[int]
    """All persons of its faces; several where recognition was wrong."""
    friend: bool
    outcome: str | None
    """How the person was found, such as `matched`; None where a plugin stored the face."""
    confidence: float | None
    reason: str | None
    """Why there is no person."""
    co_visible: list[str]
    """Ids of visits in the same frame: other people."""
    reviewed: bool
    reviewed_by: str | None
    reviewed_at: datetime | None
    key: VisitKey
    """Its document; orders visits that begin at the same time."""


@dataclass(frozen=True, slots=True)
class VisitFilter:
    """Which visits; None: all."""

    cameras: Collection[str] | None = None
    person: int | None = None
    since: datetime | None = None
    """Visits that begin at this time or later."""
    until: datetime | None = None
    """Visits that begin before this time."""
    named: bool | None = None
    """Whether the visitor is a person with a name."""
    friend: bool | None = None
    outcome: str | None = None
    min_quality: float | None = None
    min_confidence: float | None = None
    reviewed: bool | None = None

    def query(self, owner: ObjectId) -> dict[str, Any]:
        equal = {
            "persons": self.person,
            "named": self.named,
            "friend": self.friend,
            "outcome": self.outcome,
            "reviewed": self.reviewed,
        }
        query: dict[str, Any] = {"owner": owner}
        query |= {field: value for field, value in equal.items() if value is not None}
        if self.cameras is not None:
            query["cam_id"] = {"$in": sorted(self.cameras)}
        start = {"$gte": self.since, "$lt": self.until}
        query["start"] = {operator: at for operator, at in start.items() if at is not None}
        for field, least in (("quality", self.min_quality), ("confidence", self.min_confidence)):
            if least is not None:
                query[field] = {"$gte": least}
        return {field: value for field, value in query.items() if field != "start" or value}


@dataclass(frozen=True, slots=True)
class VisitPosition:
    """A place in the list, which begins with the latest visit."""

    start: datetime
    document_id: str


@dataclass(frozen=True, slots=True)
class PeriodCount:
    """The visits that began in a period."""

    start: datetime
    visits: int
    persons: int
    """Number of different persons; visits without one do not count."""


async def list_visits(
    ctx: Context,
    user: UserArgument,
    filters: VisitFilter,
    *,
    limit: int,
    after: VisitPosition | None = None,
) -> list[Visit]:
    """The visits that pass the filters, the latest begun first; `after` continues a list.

    Raises:
        StoreError: MongoDB does not answer.
    """
    owner = await ctx.users.owner(user)
    query = filters.query(owner)
    if after is not None:
        same_start = {"start": after.start, "_id": {"$lt": after.document_id}}
        # The bound on `start` limits what is read of the index, which the $or alone would not.
        query = {"$and": [query, {"start": {"$lte": after.start}}, _later(after, same_start)]}
    return await _visits(ctx, owner, query, limit)


def _later(after: VisitPosition, same_start: Mapping[str, Any]) -> dict[str, Any]:
    return {"$or": [{"start": {"$lt": after.start}}, dict(same_start)]}


async def find_visit(
    ctx: Context, user: UserArgument, visit_id: str, cameras: Collection[str] | None = None
) -> Visit | None:
    """One visit; None where there is none, or where none of the cameras has seen it."""
    owner = await ctx.users.owner(user)
    query: dict[str, Any] = {"owner": owner, "id": visit_id}
    if cameras is not None:
        query["cam_id"] = {"$in": sorted(cameras)}
    found = await _visits(ctx, owner, query, 1)
    return found[0] if found else None


async def co_visible_visits(ctx: Context, user: UserArgument, visit: Visit) -> list[Visit]:
    """The visits of other people in the same frames of the same camera, the latest begun first."""
    owner = await ctx.users.owner(user)
    here = {"owner": owner, "cam_id": visit.cam_id, "id": {"$in": visit.co_visible}}
    return await _visits(ctx, owner, here, MAX_NEARBY)


async def visits_elsewhere(
    ctx: Context,
    user: UserArgument,
    visit: Visit,
    cameras: Collection[str] | None = None,
    within: timedelta = NEARBY,
) -> list[Visit]:
    """The person's visits at other cameras that begin within this time before its start and after its end."""
    if visit.person_id is None:
        return []
    owner = await ctx.users.owner(user)
    near = VisitFilter(cameras, visit.person_id, visit.start - within, visit.end + within)
    query = {"$and": [near.query(owner), {"cam_id": {"$ne": visit.cam_id}}]}
    return await _visits(ctx, owner, query, MAX_NEARBY)


async def count_visits(
    ctx: Context, user: UserArgument, filters: VisitFilter, unit: str, zone: str, limit: int
) -> list[PeriodCount]:
    """The numbers of visits in each hour or day, the latest first; empty periods are left out.

    Args:
        unit: `hour`, `day`, `week` or `month`, of the zone.
        zone: name of a time zone, such as Europe/Vienna.
    """
    owner = await ctx.users.owner(user)
    period = {"$dateTrunc": {"date": "$start", "unit": unit, "timezone": zone, "startOfWeek": "monday"}}
    steps: list[dict[str, Any]] = [
        {"$match": filters.query(owner)},
        {"$group": {"_id": period, "visits": {"$sum": 1}, "persons": {"$addToSet": "$person_id"}}},
        {"$sort": {"_id": -1}},
        {"$limit": limit},
        {
            "$project": {
                "visits": 1,
                "persons": {"$size": {"$filter": {"input": "$persons", "cond": {"$ne": ["$$this", None]}}}},
            }
        },
    ]
    try:
        found = await ctx.database["visits"].aggregate(steps, maxTimeMS=MAX_TIME_MS).to_list(limit)
    except DRIVER_ERRORS as error:
        raise translate_error(error, "visits.count") from error
    return [PeriodCount(one["_id"], one["visits"], one["persons"]) for one in found]


async def _visits(ctx: Context, owner: ObjectId, query: Mapping[str, Any], limit: int) -> list[Visit]:
    order = [("start", -1), ("_id", -1)]
    try:
        cursor = ctx.database["visits"].find(query, sort=order, limit=limit, max_time_ms=MAX_TIME_MS)
        found = await cursor.to_list(limit)
    except DRIVER_ERRORS as error:
        raise translate_error(error, "visits.find") from error
    names = await names_of(ctx, owner, {one["person_id"] for one in found if one["person_id"] is not None})
    return [_visit(one, names) for one in found]


def _visit(document: Mapping[str, Any], names: Mapping[int, str]) -> Visit:
    person = document.get("person_id")
    return Visit(
        id=document["id"],
        cam_id=document["cam_id"],
        start=document["start"],
        end=document["end"],
        faces=document["faces"],
        best_face=document["best_face"],
        quality=document.get("quality"),
        person_id=person,
        person_name=None if person is None else names.get(person),
        persons=list(document["persons"]),
        friend=document["friend"],
        outcome=document.get("outcome"),
        confidence=document.get("confidence"),
        reason=document.get("reason"),
        co_visible=list(document["co_visible"]),
        reviewed=document["reviewed"],
        reviewed_by=document.get("reviewed_by"),
        reviewed_at=utc(document.get("reviewed_at")),
        key=VisitKey(document["owner"], document["cam_id"], document["id"]),
    )

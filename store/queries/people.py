"""Persons with what is known of them: number of faces, first and last sighting."""

import re
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bson import ObjectId

from store.collections.persons import Person
from store.collections.users import UserArgument
from store.context import Context
from store.errors import BadValueError, NotFoundError
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error
from store.mongo.guard import checked_id
from store.mongo.query_limits import PLAIN_SECONDS

PAGE = 200
MAX_NAMESAKES = 10
MAX_TIME_MS = int(PLAIN_SECONDS * 1000)


@dataclass(frozen=True, slots=True)
class PersonSummary:
    """A person, and the faces of the cameras that were asked about."""

    id: int
    name: str | None
    created: datetime | None
    faces: int
    first_seen: datetime | None
    last_seen: datetime | None
    last_camera: str | None
    last_face: int | None
    """Id of the latest face."""
    last_thumbnail: str | None
    """URL in the uploads."""


async def list_people(
    ctx: Context,
    user: UserArgument,
    *,
    limit: int,
    below: int | None = None,
    cameras: Collection[str] | None = None,
    named: bool | None = None,
    name: str | None = None,
) -> list[PersonSummary]:
    """Persons in the order of descending ids.

    Args:
        below: only ids below this one, to continue a list.
        cameras: only persons whom one of these cameras has seen, and only what these cameras saw of them.
        named: only persons with, or without, a name.
        name: only persons whose name contains this text, in any case.
    """
    filters: dict[str, Any] = {}
    if below is not None:
        filters["_id"] = {"$lt": below}
    if named is not None:
        filters["name"] = {"$type": "string", "$ne": ""} if named else {"$in": [None, ""]}
    if name:
        filters = {"$and": [filters, {"name": {"$regex": re.escape(name), "$options": "i"}}]}
    owner = await ctx.users.owner(user)
    if cameras is not None:
        seen = await _persons_seen(ctx, owner, cameras)
        filters = {"$and": [filters, {"_id": {"$in": seen}}]}
    people = await ctx.persons.find(user, filters, sort=[("_id", -1)], limit=limit)
    return await _summaries(ctx, owner, people, cameras)


async def person_summary(
    ctx: Context, user: UserArgument, person_id: int, cameras: Collection[str] | None = None
) -> PersonSummary | None:
    """One person; None where there is none, or where none of the cameras has seen the person."""
    person = await ctx.persons.find_one(user, {"_id": person_id})
    if person is None:
        return None
    (summary,) = await _summaries(ctx, await ctx.users.owner(user), [person], cameras)
    return summary if summary.faces or cameras is None else None


async def find_person(ctx: Context, user: UserArgument, text: str) -> int:
    """The id of the person whom an id or a name gives; the case of the name does not matter.

    Raises:
        NotFoundError: the user has no such person.
        BadValueError: several persons have the name.
    """
    if text.isascii() and text.isdecimal():
        person_id = checked_id(int(text), "person")
        if await ctx.persons.find_one(user, {"_id": person_id}) is None:
            raise NotFoundError(f"there is no person {person_id}; `facend persons list` shows all")
        return person_id
    same = {"name": {"$regex": f"^{re.escape(text)}$", "$options": "i"}}
    found = await ctx.persons.find(user, same, sort=[("_id", 1)], limit=MAX_NAMESAKES + 1)
    if not found:
        raise NotFoundError(f"there is no person {text!r:.80}; `facend persons list` shows all")
    if len(found) > 1:
        ids = ", ".join(str(person["_id"]) for person in found[:MAX_NAMESAKES])
        more = " and others" if len(found) > MAX_NAMESAKES else ""
        raise BadValueError(f"several persons are called {text!r:.80}: {ids}{more}; give one of the ids")
    return int(found[0]["_id"])


async def all_people(ctx: Context, user: UserArgument) -> AsyncIterator[PersonSummary]:
    """Every person, by ascending id, in constant memory."""
    owner, last = await ctx.users.owner(user), -1
    while page := await ctx.persons.find(user, {"_id": {"$gt": last}}, sort=[("_id", 1)], limit=PAGE):
        for summary in await _summaries(ctx, owner, page, None):
            yield summary
        last = page[-1]["_id"]


async def _persons_seen(ctx: Context, owner: ObjectId, cameras: Collection[str]) -> list[int]:
    query = {"owner": owner, "cam_id": {"$in": list(cameras)}, "person_id": {"$ne": None}}
    steps: list[dict[str, Any]] = [{"$match": query}, {"$group": {"_id": "$person_id"}}]
    try:
        found = await ctx.database["faces"].aggregate(steps, maxTimeMS=MAX_TIME_MS).to_list(None)
    except DRIVER_ERRORS as error:
        raise translate_error(error, "faces.persons_seen") from error
    return [one["_id"] for one in found]


async def _summaries(
    ctx: Context, owner: ObjectId, people: Iterable[Person], cameras: Collection[str] | None
) -> list[PersonSummary]:
    """In the order of the persons."""
    people = list(people)
    match: dict[str, Any] = {"owner": owner, "person_id": {"$in": [person["_id"] for person in people]}}
    if cameras is not None:
        match["cam_id"] = {"$in": list(cameras)}
    latest = {name: f"${name}" for name in ("timestamp", "_id", "cam_id", "thumbnail")}
    group = {
        "_id": "$person_id",
        "faces": {"$sum": 1},
        "first": {"$min": "$timestamp"},
        "latest": {"$max": latest},
    }
    steps: list[dict[str, Any]] = [{"$match": match}, {"$group": group}]
    try:
        found = await ctx.database["faces"].aggregate(steps, maxTimeMS=MAX_TIME_MS).to_list(None)
    except DRIVER_ERRORS as error:
        raise translate_error(error, "faces.summaries") from error
    known = {one["_id"]: one for one in found}
    return [_summary(person, known.get(person["_id"], {})) for person in people]


def _summary(person: Person, faces: Mapping[str, Any]) -> PersonSummary:
    latest = faces.get("latest") or {}
    return PersonSummary(
        person["_id"],
        person.get("name"),
        utc(person.get("created")),
        faces.get("faces", 0),
        utc(faces.get("first")),
        utc(latest.get("timestamp")),
        latest.get("cam_id"),
        latest.get("_id"),
        latest.get("thumbnail"),
    )


async def names_of(ctx: Context, owner: ObjectId, persons: Collection[int]) -> dict[int, str]:
    """The names of those persons who have one."""
    if not persons:
        return {}
    query = {"_id": {"$in": list(persons)}, "owner": owner, "name": {"$type": "string", "$ne": ""}}
    try:
        found = await ctx.database["persons"].find(query, {"name": 1}, max_time_ms=MAX_TIME_MS).to_list(None)
    except DRIVER_ERRORS as error:
        raise translate_error(error, "persons.names") from error
    return {one["_id"]: one["name"] for one in found}


def utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC)

"""Calls on persons and their history."""

from typing import Any

from daemon.http.errors import HttpError
from daemon.http.facenapi import objects
from daemon.http.facenapi.call import PAGE, Answer, Call
from daemon.http.facenapi.parameters import MAX_ID


async def listed(call: Call) -> Answer:
    """GET /persons: the latest first."""
    ids, ascending = call.id_range()
    order = 1 if ascending else -1
    found = await call.ctx.persons.find(call.user, ids, sort=[("_id", order)], limit=PAGE + 1)
    more, found = len(found) > PAGE, sorted(found[:PAGE], key=lambda person: -person["_id"])
    results = [objects.person(person) for person in found]
    return call.page([person["_id"] for person in found], results, more=more, ascending=ascending)


async def one(call: Call) -> Answer:
    """GET /person/id/I"""
    person_id = call.id_in_path()
    found = await call.ctx.persons.find_one(call.user, {"_id": person_id})
    if found is None:
        raise HttpError(404, "not_found", f"there is no person {person_id}")
    return objects.person(found)


async def history(call: Call) -> Answer:
    """GET /person/history/id/I: the person's faces, the latest first."""
    person_id = call.id_in_path()
    if await call.ctx.persons.find_one(call.user, {"_id": person_id}) is None:
        raise HttpError(404, "not_found", f"there is no person {person_id}")
    return await _faces(call, {"person_id": person_id}, PAGE)


async def search(call: Call) -> Answer:
    """POST /history/search: faces that have a person, the latest first."""
    given = call.parameters
    person_id = given.integer("person_id", 0, MAX_ID)
    filters: dict[str, Any] = {"person_id": {"$ne": None} if person_id is None else person_id}
    if (friend := given.boolean("friend")) is not None:
        filters["friend"] = True if friend else {"$ne": True}
    return await _faces(call, filters, given.integer("limit", 1, 1000) or PAGE)


async def _faces(call: Call, filters: dict[str, Any], limit: int) -> Answer:
    given = call.parameters
    if cameras := given.texts("cam_ids"):
        filters["cam_id"] = {"$in": cameras}
    begin, end = given.moment("start"), given.moment("end")
    if bounds := {key: value for key, value in (("$gte", begin), ("$lte", end)) if value is not None}:
        filters["timestamp"] = bounds
    ids, ascending = call.id_range()
    order = 1 if ascending else -1
    found = await call.ctx.faces.find(call.user, filters | ids, sort=[("_id", order)], limit=limit + 1)
    more, found = len(found) > limit, sorted(found[:limit], key=lambda face: -face["_id"])
    results = [objects.history_entry(face, call.base) for face in found]
    return call.page([face["_id"] for face in found], results, more=more, ascending=ascending)

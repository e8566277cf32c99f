"""The values of `meta` of the faces, with the number of faces."""

from dataclasses import dataclass
from typing import Any

from store.collections.users import UserArgument
from store.context import Context
from store.face import Face
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error
from store.mongo.query_limits import PLAIN_SECONDS

MAX_METAS = 1000


@dataclass(frozen=True, slots=True)
class MetaCount:
    meta: str
    count: int
    """Number of faces."""
    latest: Face


async def list_metas(
    ctx: Context, user: UserArgument, gallery: str | None = None, limit: int = MAX_METAS
) -> list[MetaCount]:
    """The first `limit` values in alphabetical order; faces without a text in `meta` do not count.

    Raises:
        StoreError: MongoDB does not answer.
    """
    match: dict[str, Any] = {"owner": await ctx.users.owner(user), "meta": {"$type": "string", "$ne": ""}}
    if gallery is not None:
        match["gallery"] = gallery
    steps: list[dict[str, Any]] = [
        {"$match": match},
        {"$group": {"_id": "$meta", "count": {"$sum": 1}, "latest": {"$max": "$_id"}}},
        {"$sort": {"_id": 1}},
        {"$limit": limit},
    ]
    try:
        counted = await (
            ctx.database["faces"].aggregate(steps, maxTimeMS=int(PLAIN_SECONDS * 1000)).to_list(limit)
        )
    except DRIVER_ERRORS as error:
        raise translate_error(error, "faces.metas") from error
    found = await ctx.faces.find(user, {"_id": {"$in": [one["latest"] for one in counted]}})
    latest = {face["_id"]: face for face in found}
    return [
        MetaCount(one["_id"], one["count"], latest[one["latest"]])
        for one in counted
        if one["latest"] in latest  # otherwise removed meanwhile
    ]

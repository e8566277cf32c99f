"""Filters and sorts by properties of the face object."""

from datetime import UTC, datetime
from typing import Any

import pytest

from store import BadFilterError, BadValueError, Context, User
from tests.facens import face, person_facen, stored

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


async def test_filters_accept_properties_of_the_face_object(ctx: Context, user: User) -> None:
    """`id`, `galleries` and a timestamp as text select the same as `_id`, `gallery` and a time."""
    first = await stored(ctx, user, person_facen(1), ["staff"], timestamp=NOON)
    second = await stored(ctx, user, person_facen(2), ["guests"], timestamp=NOON.replace(hour=13))
    filters: list[dict[str, Any]] = [
        {"id": first["id"]},
        {"galleries": "staff"},
        {"galleries.0": "staff"},
        {"timestamp": first["timestamp"]},
        {"timestamp": {"$lt": second["timestamp"]}},
        {"timestamp": {"$not": {"$gte": "2026-03-01T14:00:00+01:00"}}},
        {"$or": [{"timestamp": {"$in": ["2026-03-01T12:00"]}}, {"$and": [{"id": -1}]}]},
        {"timestamp": {"$type": "date"}, "id": {"$ne": second["id"]}},
    ]
    for one in filters:
        assert await ctx.faces.find(user, one) == [first], one
        assert await ctx.faces.find_one(user, one) == first
        assert await ctx.faces.count(user, one) == 1
        (changed,) = await ctx.faces.update_many(user, one, {"meta": "seen"})
        assert changed["id"] == first["id"]
        first["meta"] = "seen"
    (found,) = await ctx.faces.identify(user, "staff", first, 5, 0.9, filters={"id": first["id"]})
    assert found.face == first
    for sort in ({"id": -1}, [("id", -1)], [("timestamp", -1)]):
        assert [one["id"] for one in await ctx.faces.find(user, None, sort)] == [second["id"], first["id"]]
    assert (await ctx.faces.find(user, None, "id"))[0] == first
    assert await ctx.faces.remove_one(user, {"id": first["id"]}) == first


@pytest.mark.parametrize("projection", [["id", "bbox", "galleries"], {"bbox": 1, "galleries": True}])
async def test_projections_accept_properties_of_the_face_object(
    ctx: Context, user: User, projection: Any
) -> None:
    """For bbox, all four corners are returned."""
    first = await stored(ctx, user, person_facen(1), ["staff"])
    for hint in ([("id", 1)], {"id": 1}, "_id_"):
        changed = await ctx.faces.update_one(
            user, {"id": first["id"]}, {"meta": "x"}, projection=projection, hint=hint
        )
        assert changed == {key: first[key] for key in ("id", "owner", "bbox", "galleries")}


async def test_filters_that_match_nothing_are_errors(ctx: Context, user: User) -> None:
    """A bbox is four numbers in MongoDB, and text that is no time never equals one."""
    await ctx.faces.add(user, face(person_facen(1)))
    for ask in (ctx.faces.find, ctx.faces.count, ctx.faces.remove_one):
        with pytest.raises(BadFilterError, match="x1, y1, x2 and y2"):
            await ask(user, {"$or": [{"bbox": (1, 2, 3, 4)}]})
        with pytest.raises(BadValueError, match="ISO 8601"):
            await ask(user, {"timestamp": {"$gte": "yesterday"}})
    with pytest.raises(BadFilterError, match="x1, y1, x2 and y2"):
        await ctx.faces.find(user, None, {"bbox": 1})

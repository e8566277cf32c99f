"""Galleries with the numbers of their faces and persons."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from store.collections.galleries import Gallery
from store.collections.users import UserArgument
from store.context import Context
from store.errors import NotFoundError
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error


@dataclass(frozen=True, slots=True)
class GallerySummary:
    name: str
    faces: int
    persons: int
    """Persons with a face in the gallery."""
    created: datetime


@dataclass(frozen=True, slots=True)
class GalleryDates:
    """When the oldest and the latest face of a gallery were captured; None without faces."""

    first_face: datetime | None
    last_face: datetime | None


async def list_galleries(ctx: Context, user: UserArgument) -> list[GallerySummary]:
    """All galleries of the user, by name."""
    found = await ctx.galleries.find(user, None, sort=[("name", 1)])
    return [await _summary(ctx, user, gallery) for gallery in found]


async def gallery_summary(ctx: Context, user: UserArgument, name: str) -> GallerySummary:
    """A gallery by name. NotFoundError if the user has none of this name."""
    found = await ctx.galleries.find_one(user, {"name": name})
    if found is None:
        raise NotFoundError(f"there is no gallery {name}; `facend galleries list` shows all galleries")
    return await _summary(ctx, user, found)


async def gallery_dates(ctx: Context, user: UserArgument, name: str) -> GalleryDates:
    first = await ctx.faces.find_one(user, {"gallery": name}, sort=[("timestamp", 1)])
    last = await ctx.faces.find_one(user, {"gallery": name}, sort=[("timestamp", -1)])
    return GalleryDates(None if first is None else first.timestamp, None if last is None else last.timestamp)


async def _summary(ctx: Context, user: UserArgument, gallery: Gallery) -> GallerySummary:
    name = gallery["name"]
    faces = await ctx.faces.count(user, {"gallery": name})
    return GallerySummary(name, faces, await _count_persons(ctx, user, name), gallery["_id"].generation_time)


async def _count_persons(ctx: Context, user: UserArgument, gallery: str) -> int:
    """The number of persons with a face in the gallery."""
    here: dict[str, Any] = {
        "owner": await ctx.users.owner(user),
        "gallery": gallery,
        "person_id": {"$ne": None},
    }
    steps: list[dict[str, Any]] = [{"$match": here}, {"$group": {"_id": "$person_id"}}, {"$count": "persons"}]
    try:
        counted = await ctx.database["faces"].aggregate(steps).to_list(1)
    except DRIVER_ERRORS as error:
        raise translate_error(error, "faces.persons_in") from error
    return int(counted[0]["persons"]) if counted else 0

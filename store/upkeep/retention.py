"""Retention: removes faces and pictures by age, number and size, and what nothing refers to.

A run can be repeated after a crash at any moment and is safe beside a running recorder. Enrolled people stay,
whatever their age. Faces that another box stored are removed by that box, also where both boxes share a user.
"""

import asyncio
import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

import structlog

from store.collections.persons import Person
from store.collections.server_faces import EXTRACTED
from store.collections.users import UserArgument
from store.context import Context
from store.identity.removal import BATCH, FaceRemoval, has_faces
from store.settings import RetentionSettings
from store.spool.spool import Spool
from store.upkeep.limits import VISITORS, Limits
from store.upkeep.orphans import Orphans
from store.uploads.locations import PICTURES, Places

log = structlog.get_logger()

EXTRACTED_KEPT = timedelta(days=1)
"""Pictures of extracted faces without an owner are kept this long, to the end of that day."""


@dataclass(frozen=True, slots=True)
class Removed:
    """Numbers of removed items."""

    faces: int
    pictures: int
    """Of removed faces, of faces that stay, and orphans."""
    persons: int
    leftovers: int
    dead: int


class Retention:
    """Applies the retention settings of one user. `run` is for a periodic job; runs must not overlap."""

    def __init__(
        self, ctx: Context, user: UserArgument, settings: RetentionSettings, spool: Spool | None = None
    ) -> None:
        """`spool`: its old dead letters are removed, too."""
        self._ctx = ctx
        self._user = user
        self._settings = settings
        self._spool = spool
        self._removal = FaceRemoval(ctx, user)

    async def run(self, now: datetime | None = None) -> Removed:
        """Removes by age relative to `now` (default: the present), then by number and size.

        StoreError where a part cannot be reached; the next run continues from there.
        """
        now = now or datetime.now(UTC)
        settings = self._settings
        places = await self._ctx.locations.places()
        faces = dead = 0
        pictures = await self._ctx.locations.carry_out()
        if settings.faces_days is not None:
            faces, theirs = await self._remove_faces(settings.cutoff(now, settings.faces_days), places)
            pictures += theirs
        if settings.pictures_days is not None:
            pictures += await self._remove_pictures(settings.cutoff(now, settings.pictures_days), places)
        ages = [days for days in (settings.faces_days, settings.pictures_days) if days is not None]
        if ages and places.here is not None:
            pictures += await self._remove_orphans(settings.cutoff(now, min(ages)))
        limits = Limits(self._ctx, self._user)
        if settings.max_faces is not None:
            fewer, theirs = await limits.faces(settings.max_faces, places)
            faces, pictures = faces + fewer, pictures + theirs
        if settings.max_picture_bytes is not None and places.here is not None:
            pictures += await limits.picture_bytes(settings.max_picture_bytes)
        persons = await self._remove_persons(now)
        pictures += await self._remove_extracted(now - EXTRACTED_KEPT)
        leftovers = await self._ctx.uploads.remove_leftovers(settings.leftovers_seconds)
        if self._spool is not None and settings.dead_days is not None:
            dead = await asyncio.to_thread(self._spool.remove_dead, settings.dead_days * 86_400)
        removed = Removed(faces, pictures, persons, leftovers, dead)
        log.info("retention has run", **asdict(removed))
        return removed

    async def _remove_faces(self, cutoff: datetime, places: Places) -> tuple[int, int]:
        faces = pictures = 0
        old = {"timestamp": {"$lt": cutoff}, **VISITORS}
        async for face in self._removal.own_faces(old, places):
            was_there, theirs = await self._removal.remove(face)
            faces, pictures = faces + was_there, pictures + theirs
        return faces, pictures

    async def _remove_pictures(self, cutoff: datetime, places: Places) -> int:
        named = {"$or": [{field: {"$exists": True}} for field in PICTURES]}
        old = self._removal.own_faces({"timestamp": {"$lt": cutoff}, **VISITORS, **named}, places)
        return sum([await self._removal.strip(face) async for face in old])

    async def _remove_orphans(self, cutoff: datetime) -> int:
        """Removes orphans of days before that of the cutoff."""
        owner = str(await self._ctx.users.owner(self._user))
        found = await self._ctx.uploads.list_folders(owner)
        days = [day for day in found if re.fullmatch(r"\d{8}", day) and day < f"{cutoff:%Y%m%d}"]
        return (await Orphans(self._ctx).remove([f"{owner}/{day}" for day in days])).pictures

    async def _remove_extracted(self, cutoff: datetime) -> int:
        """Removes pictures of faces that were extracted and uploaded without an owner."""
        removed = 0
        for day in await self._ctx.uploads.list_folders(EXTRACTED):
            if re.fullmatch(r"\d{8}", day) and day < f"{cutoff:%Y%m%d}":
                async for key in self._ctx.uploads.list_keys(f"{EXTRACTED}/{day}"):
                    removed += await self._ctx.uploads.delete(key)
        return removed

    async def _remove_persons(self, now: datetime) -> int:
        """Removes persons without faces: noted in one run, removed in a later one."""
        removed, last = 0, -1
        while persons := await self._ctx.persons.find(
            self._user, {"_id": {"$gt": last}}, sort=[("_id", 1)], limit=BATCH
        ):
            for person in persons:
                removed += await self._remove_faceless(person, now)
            last = persons[-1]["_id"]
        return removed

    async def _remove_faceless(self, person: Person, now: datetime) -> bool:
        this = {"_id": person["_id"]}
        since = person.get("faceless_since")
        if await has_faces(self._ctx, person["owner"], person["_id"]):
            if since is not None:
                await self._ctx.persons.update_one(self._user, this, {"$unset": {"faceless_since": ""}})
            return False
        if since is None and self._settings.persons_grace_seconds > 0:
            await self._ctx.persons.update_one(self._user, this, {"$set": {"faceless_since": now}})
            return False
        if since is not None and now - since < timedelta(seconds=self._settings.persons_grace_seconds):
            return False
        return await self._ctx.persons.remove_one(self._user, this) is not None

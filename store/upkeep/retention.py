"""Retention: removes faces and pictures by age, number and size, and orphaned data.

A run can be repeated after a crash at any moment, and is safe while a recorder is running. Faces of enrolled
people are never removed. A face is removed by the box that stored it, even if other boxes share its user.
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

import structlog

from store.collections.persons import Person
from store.collections.users import UserArgument
from store.context import Context
from store.identity.removal import BATCH, FaceRemoval, has_faces
from store.settings import RetentionSettings
from store.spool.spool import Spool
from store.upkeep.clock_guard import ClockGuard
from store.upkeep.limits import VISITORS, Limits
from store.upkeep.orphans import Orphans
from store.uploads.face_pictures import EXTRACTED, PICTURES
from store.uploads.locations import KnownLocations

log = structlog.get_logger()

EXTRACTED_KEPT = timedelta(days=1)
"""Maximum age of pictures of extracted faces without an owner, rounded up to whole days."""


@dataclass(frozen=True, slots=True)
class Removed:
    """Numbers of removed items."""

    faces: int
    pictures: int
    """Pictures of removed faces, of remaining faces, and orphans."""
    persons: int
    leftovers: int
    dead: int


class Retention:
    """Applies the retention settings of one user. `run` is for a periodic job; runs must not overlap."""

    def __init__(
        self,
        ctx: Context,
        user: UserArgument,
        settings: RetentionSettings,
        spool: Spool | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`spool`: old dead letters of this spool are removed as well."""
        self._clock = clock
        self._ctx = ctx
        self._user = user
        self._settings = settings
        self._spool = spool
        self._removal = FaceRemoval(ctx, user)

    async def run(self, now: datetime | None = None) -> Removed:
        """Remove by age relative to `now`, then by number and size. Default: the clock, which is checked
        first.

        Raises:
            ClockError: the clock may be far ahead; nothing is removed.
            StoreError: MongoDB, the facen storage or the uploads cannot be reached; the next run continues.
        """
        settings = self._settings
        if now is None:
            now = self._clock()
            if not settings.trust_clock:
                await ClockGuard(self._ctx).check(now)
        locations = await self._ctx.locations.known()
        faces = dead = 0
        pictures = await self._ctx.locations.remove_recorded()
        if settings.faces_days is not None:
            faces, theirs = await self._remove_faces(settings.cutoff(now, settings.faces_days), locations)
            pictures += theirs
        if settings.pictures_days is not None:
            pictures += await self._remove_pictures(settings.cutoff(now, settings.pictures_days), locations)
        ages = [days for days in (settings.faces_days, settings.pictures_days) if days is not None]
        if ages and locations.here is not None:
            pictures += await self._remove_orphans(settings.cutoff(now, min(ages)))
        limits = Limits(self._ctx, self._user)
        if settings.max_faces is not None:
            fewer, theirs = await limits.faces(settings.max_faces, locations)
            faces, pictures = faces + fewer, pictures + theirs
        if settings.max_picture_bytes is not None and locations.here is not None:
            pictures += await limits.picture_bytes(settings.max_picture_bytes)
        persons = await self._remove_persons(now)
        pictures += await self._remove_extracted(now - EXTRACTED_KEPT)
        leftovers = await self._ctx.uploads.remove_leftovers(settings.leftovers_seconds)
        if self._spool is not None and settings.dead_days is not None:
            dead = await asyncio.to_thread(self._spool.remove_dead, settings.dead_days * 86_400)
        removed = Removed(faces, pictures, persons, leftovers, dead)
        log.info("retention finished", **asdict(removed))
        return removed

    async def _remove_faces(self, cutoff: datetime, locations: KnownLocations) -> tuple[int, int]:
        faces = pictures = 0
        old = {"timestamp": {"$lt": cutoff}, **VISITORS}
        async for face in self._removal.own_faces(old, locations):
            was_there, theirs = await self._removal.remove(face)
            faces, pictures = faces + was_there, pictures + theirs
        return faces, pictures

    async def _remove_pictures(self, cutoff: datetime, locations: KnownLocations) -> int:
        named = {"$or": [{field: {"$exists": True}} for field in PICTURES]}
        old = self._removal.own_faces({"timestamp": {"$lt": cutoff}, **VISITORS, **named}, locations)
        return sum([await self._removal.strip(face) async for face in old])

    async def _remove_orphans(self, cutoff: datetime) -> int:
        """Remove orphans of the days before the cutoff."""
        owner = str(await self._ctx.users.owner(self._user))
        found = await self._ctx.uploads.list_folders(owner)
        days = [day for day in found if re.fullmatch(r"\d{8}", day) and day < f"{cutoff:%Y%m%d}"]
        return (await Orphans(self._ctx).remove([f"{owner}/{day}" for day in days])).pictures

    async def _remove_extracted(self, cutoff: datetime) -> int:
        """Remove pictures of faces that were extracted and uploaded without an owner."""
        removed = 0
        for day in await self._ctx.uploads.list_folders(EXTRACTED):
            if re.fullmatch(r"\d{8}", day) and day < f"{cutoff:%Y%m%d}":
                async for key in self._ctx.uploads.list_keys(f"{EXTRACTED}/{day}"):
                    removed += await self._ctx.uploads.delete(key)
        return removed

    async def _remove_persons(self, now: datetime) -> int:
        """Remove persons without faces. A run marks them, and a later run removes them."""
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

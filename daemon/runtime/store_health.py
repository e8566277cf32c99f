"""Checks the health of MongoDB and the facen storage, even while no sightings arrive."""

import asyncio
import time

import structlog

from store import Context, StoreError, StoreUnavailableError
from store.collections.galleries import DEFAULT_GALLERY
from store.facens.engine.local import GALLERIES_BATCH
from store.facens.sync.factory import local_shards
from store.settings import CAMERA_GALLERY, CAMERA_REFERENCES, ENROLLED_GALLERY, PERSON_GALLERY, REFERENCES

log = structlog.get_logger(__name__)

PING_SECONDS = 3.0

FACENS_SECONDS = 5.0
"""Timeout of a check of the facen storage, which may be on another machine."""

PAUSE_SHARE = 10
"""Pause after a check of the facen storage, as a multiple of its duration."""

GALLERY_KINDS = ("default", "person", "reference", "other")


def gallery_kind(name: str) -> str:
    """The purpose of a gallery: all faces, persons, references to compare with, or the user's own."""
    if name == DEFAULT_GALLERY:
        return "default"
    if name == REFERENCES or name.startswith(CAMERA_REFERENCES):
        return "reference"
    of_persons = name in (PERSON_GALLERY, ENROLLED_GALLERY) or name.startswith(CAMERA_GALLERY)
    return "person" if of_persons else "other"


class StoreHealth:
    """The result of the last check."""

    def __init__(self) -> None:
        self.away = ""
        """Why MongoDB does not answer; empty if it does."""
        self.shards: dict[str, float] = {"live": 0, "total": 0}
        self.facens: dict[str, float] = dict.fromkeys(GALLERY_KINDS, 0)
        self.facens_bytes = 0
        """Memory of this process used by facens."""
        self._facens_trouble = False
        self._next_check = 0.0

    async def check(self, ctx: Context | None) -> None:
        """Check MongoDB and the facen storage, and restore shards that are out of service.

        `ctx`: None while the store is not open.
        """
        if ctx is None or not await self._mongodb_answers(ctx):
            self.shards = {"live": 0, "total": self.shards["total"]}
            self._next_check = 0.0  # check the shards as soon as MongoDB is back
        else:
            await self._check_facens(ctx)

    async def _mongodb_answers(self, ctx: Context) -> bool:
        try:
            await ctx.ping(PING_SECONDS)
        except StoreUnavailableError as error:
            if not self.away:
                log.warning("MongoDB is away", reason=str(error))
            self.away = str(error)
            return False
        if self.away:
            log.info("MongoDB is back")
        self.away = ""
        return True

    async def _check_facens(self, ctx: Context) -> None:
        since = time.monotonic()
        if since < self._next_check:
            return
        try:
            async with asyncio.timeout(FACENS_SECONDS):
                await self._count_facens(ctx)
        except (StoreError, TimeoutError) as error:
            if not self._facens_trouble:
                log.warning("the facen storage does not answer", reason=str(error) or "it took too long")
            self._facens_trouble = True
        else:
            if self._facens_trouble:
                log.info("the facen storage answers again")
            self._facens_trouble = False
        # Checking many galleries on another machine is slow, so the pauses are in proportion.
        now = time.monotonic()
        self._next_check = now + PAUSE_SHARE * (now - since)

    async def _count_facens(self, ctx: Context) -> None:
        health = await ctx.facens.health()
        self.shards = {"live": sum(shard.live for shard in health), "total": len(health)}
        await ctx.facens_lifecycle.recover_shards()
        facens: dict[str, float] = dict.fromkeys(GALLERY_KINDS, 0)
        for number, (user, gallery) in enumerate(await ctx.facens.galleries()):
            if number % GALLERIES_BATCH == GALLERIES_BATCH - 1:
                await asyncio.sleep(0)  # calls in memory never yield to the loop
            facens[gallery_kind(gallery)] += await ctx.facens.count(user, gallery)
        self.facens = facens
        self.facens_bytes = sum([await shard.memory() for shard in local_shards(ctx.facens)])

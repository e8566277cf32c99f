"""A running recorder, and sightings that its uploads refuse."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from store.collections.users import User
from store.context import Context
from store.spool.recorder import Recorder
from store.spool.recording import RecordingSettings
from store.spool.spool import Spool
from store.spool.stored_sighting import StoredSighting
from tests.sightings import RECORDING, photo, sighting
from tests.spools import SightingOutcomes

LARGE = 20_000
"""Bytes. Only the photos of `large` sightings are longer."""
DEADLINE_SECONDS = 20


class Running:
    """A recorder and its events."""

    def __init__(
        self, ctx: Context, user: User, spool: Spool, settings: RecordingSettings = RECORDING
    ) -> None:
        self.events: list[StoredSighting] = []
        self.observer = SightingOutcomes()
        self.recorder = Recorder(
            ctx,
            user,
            spool,
            settings,
            self.observer,
            self.events.append,
            first_pause_seconds=0.02,
            longest_pause_seconds=0.1,
        )


@asynccontextmanager
async def recording(
    ctx: Context, user: User, spool: Spool, settings: RecordingSettings = RECORDING
) -> AsyncIterator[Running]:
    """Run a recorder; at the end stop it, and check that it ended without an exception."""
    running = Running(ctx, user, spool, settings)
    task = asyncio.create_task(running.recorder.run())
    try:
        yield running
    finally:
        running.recorder.stop()
        await asyncio.wait_for(task, 20)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():  # noqa: ASYNC110 - observed from outside, as by an operator
            await asyncio.sleep(0.02)


def large(person: int = 1, look: int = 0):  # type: ignore[no-untyped-def]
    """A sighting whose photo alone has more than LARGE bytes."""
    return sighting(person, look, photo_bytes=photo(60 + person, 640, 480))


def dead(spool: Spool) -> set[str]:
    """The ids of the dead letters."""
    return {path.stem for path in (spool.folder / "dead").glob("*.sighting")}

"""A recorder with what it needs, for tests."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from store.collections.users import User
from store.context import Context
from store.observer import SightingOutcome, UnobservedStore
from store.spool.recorder import Recorder
from store.spool.recording import RecordingSettings
from store.spool.spool import Spool
from store.spool.stored_sighting import StoredSighting
from tests.sightings import RECORDING


class Counting(UnobservedStore):
    """Keeps what happened."""

    def __init__(self) -> None:
        self.sightings: list[tuple[str, str]] = []

    def sighting(self, cam_id: str, outcome: SightingOutcome) -> None:
        self.sightings.append((cam_id, outcome))


class Running:
    """A recorder at work, and what it told."""

    def __init__(
        self, ctx: Context, user: User, spool: Spool, settings: RecordingSettings = RECORDING
    ) -> None:
        self.events: list[StoredSighting] = []
        self.observer = Counting()
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
    """Runs a recorder; at the end it is stopped and its task has ended without an exception."""
    running = Running(ctx, user, spool, settings)
    task = asyncio.create_task(running.recorder.run())
    try:
        yield running
    finally:
        running.recorder.stop()
        await asyncio.wait_for(task, 20)

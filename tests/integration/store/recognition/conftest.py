"""A recorder of cameras' faces, with a real MongoDB."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.types import Facen, Sighting
from store.collections.users import User
from store.context import Context
from store.observer import UnobservedStore
from store.spool.spool import Spool
from store.spool.stored_sighting import StoredSighting
from tests.integration.store.recognition.recorded_faces import (
    Record,
)
from tests.integration.store.recorders import Running, recording
from tests.sightings import START, sighting


@pytest.fixture
async def user(ctx: Context) -> User:
    return await ctx.users.add({})


@pytest.fixture
async def running(ctx: Context, user: User, tmp_path: Path):
    async with recording(ctx, user, Spool(tmp_path / "spool", 100_000_000, UnobservedStore())) as one:
        yield one


@pytest.fixture
def record(running: Running) -> Record:
    """Records a sighting of a facen, and gives what was told of it."""

    async def done(facen: Facen, quality: dict[str, float] | None = None, **facts: object) -> StoredSighting:
        number = len(running.events)
        facts.setdefault("visit_id", f"visit-{number}")
        made: Sighting = sighting(number, facen=facen, captured_at=START, **facts)  # type: ignore[arg-type]
        told = {**made.detector_info, "quality": quality} if quality else made.detector_info
        running.recorder._spool.put(replace(made, media_time=number, detector_info=told))
        await asyncio.wait_for(running.recorder.drained(), 20)
        return running.events[-1]

    return done

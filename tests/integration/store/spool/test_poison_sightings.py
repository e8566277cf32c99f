"""Sightings that fail repeatedly for unknown reasons, or end the process."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from store.collections.users import User
from store.context import Context
from store.errors import StoreError
from store.observer import UnobservedStore
from store.spool.recorder import Recorder
from store.spool.retries import MAX_STRIKES
from store.spool.spool import Spool
from store.uploads.folder import FolderUploads
from tests.integration.store.recorders import DEADLINE_SECONDS, LARGE, dead, large, recording, until
from tests.mongo import StoreArguments
from tests.sightings import RECORDING, sighting
from tests.store_checks import assert_agreement


class Poisoned(FolderUploads):
    """A folder that fails for large pictures with an unexpected error."""

    failures = 0

    async def put(self, key: str, data: bytes, content_type: str) -> str:
        if len(data) > LARGE:
            self.failures += 1
            raise StoreError("something that nobody foresaw")
        return await super().put(key, data, content_type)


async def test_a_poison_sighting_becomes_a_dead_letter_while_others_are_stored(
    store_settings: StoreArguments, spool: Spool, uploads: Path
) -> None:
    """After ten failures, with others stored in between; without others it waits."""
    folder = Poisoned(uploads)
    async with store_settings.open(uploads=folder) as ctx:
        user = await ctx.users.add({})
        bad = spool.put(large(1))
        async with recording(ctx, user, spool) as running:
            await until(lambda: folder.failures > MAX_STRIKES)
            assert spool.pending() == [bad]
            look = 0
            while not dead(spool):
                look += 1
                seen, failures = len(running.events), folder.failures
                spool.put(sighting(2, look))
                await until(lambda seen=seen: len(running.events) > seen)  # type: ignore[misc]
                await until(lambda before=failures: folder.failures > before or bool(dead(spool)))  # type: ignore[misc]
        assert look >= MAX_STRIKES
        assert dead(spool) == {bad}
        await assert_agreement(ctx, user, uploads, {event.sighting_id for event in running.events})


class Crashing(FolderUploads):
    """A folder with a programming error for large pictures."""

    async def put(self, key: str, data: bytes, content_type: str) -> str:
        if len(data) > LARGE:
            raise KeyError("a programming error")
        return await super().put(key, data, content_type)


async def run_until_end(
    ctx: Context, user: User, spool: Spool, seconds: float = DEADLINE_SECONDS
) -> list[str]:
    """Run a recorder until it raises or the spool is empty; returns the ids of stored sightings."""
    events: list[str] = []
    recorder = Recorder(
        ctx, user, spool, RECORDING, UnobservedStore(), lambda stored: events.append(stored.sighting_id)
    )
    task = asyncio.create_task(recorder.run())
    drained = asyncio.create_task(recorder.drained())
    await asyncio.wait([task, drained], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    recorder.stop()
    drained.cancel()
    with contextlib.suppress(KeyError):
        await task
    return events


async def test_a_sighting_that_ends_the_process_three_times_becomes_a_dead_letter(
    store_settings: StoreArguments, spool: Spool, uploads: Path
) -> None:
    """Each run stores the others first, and retries it only afterwards."""
    async with store_settings.open(uploads=Crashing(uploads)) as ctx:
        user = await ctx.users.add({})
        bad = spool.put(large(1))
        assert await run_until_end(ctx, user, spool) == []
        spool = Spool(spool.folder, 100_000_000, UnobservedStore())
        assert await run_until_end(ctx, user, spool, seconds=1) == []  # alone it waits, and nothing ends
        good = set()
        for person in (2, 3, 4):
            spool = Spool(spool.folder, 100_000_000, UnobservedStore())
            assert spool.pending() == [bad]
            good.add(spool.put(sighting(person)))
            assert set(await run_until_end(ctx, user, spool)) <= good
        assert dead(spool) == {bad}
        assert "the process ended 3 times" in (spool.folder / "dead" / f"{bad}.sighting.reason").read_text()
        assert not (spool.folder / "crash-marks.json").exists()
        await assert_agreement(ctx, user, uploads, good)


@pytest.mark.parametrize("name", ["crash-marks.json", "crashes.json"])
@pytest.mark.parametrize("content", [b"", b"[1]", b'{"a": "x", "b": -1, "c": true}', b"\xff", b"[" * 100_000])
async def test_ignores_a_damaged_list_of_crashes(
    ctx: Context, user: User, spool: Spool, content: bytes, name: str
) -> None:
    """The process continues, the file is no dead letter, and sightings are stored."""
    (spool.folder / name).write_bytes(content)
    again = Spool(spool.folder, 100_000_000, UnobservedStore())
    again.put(sighting(1))
    async with recording(ctx, user, again) as running:
        await asyncio.wait_for(running.recorder.drained(), DEADLINE_SECONDS)
    assert not list((spool.folder / "dead").iterdir())

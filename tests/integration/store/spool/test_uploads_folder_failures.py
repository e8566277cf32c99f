"""Sightings whose pictures cannot be written to the uploads folder."""

import asyncio
import errno
import os
from pathlib import Path

import pytest

from store.errors import UploadError
from store.spool.recorder import Recorder
from store.spool.spool import Spool
from store.uploads.folder import FolderUploads
from tests.integration.store.recorders import DEADLINE_SECONDS, LARGE, dead, large, recording, until
from tests.mongo import StoreArguments
from tests.sightings import RECORDING, sighting
from tests.spools import SightingOutcomes
from tests.store_checks import assert_agreement, block


class Failing(FolderUploads):
    """A folder in which large pictures fail with this error of the system."""

    def __init__(self, folder: Path, number: int, *, everything: bool = False) -> None:
        super().__init__(folder)
        self.number: int | None = number
        self._everything = everything

    def _write(self, path: Path, data: bytes) -> None:
        if self.number is not None and (self._everything or len(data) > LARGE):
            raise OSError(self.number, os.strerror(self.number))
        super()._write(path, data)


@pytest.mark.parametrize("number", [errno.ENAMETOOLONG, errno.EFBIG, errno.EISDIR])
async def test_a_picture_that_cannot_be_written_becomes_a_dead_letter(
    store_settings: StoreArguments, spool: Spool, uploads: Path, number: int
) -> None:
    """A name too long or a file too large concerns one picture; the other sightings are stored."""
    async with store_settings.open(uploads=Failing(uploads, number)) as ctx:
        user = await ctx.users.add({})
        bad = spool.put(large(1))
        good = {spool.put(sighting(person)) for person in (2, 3)}
        async with recording(ctx, user, spool) as running:
            await asyncio.wait_for(running.recorder.drained(), DEADLINE_SECONDS)
        assert dead(spool) == {bad}
        await assert_agreement(ctx, user, uploads, good)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.EIO])
async def test_a_folder_that_cannot_be_written_is_a_state(
    store_settings: StoreArguments, spool: Spool, uploads: Path, number: int
) -> None:
    """On a full disk or a read-only folder all sightings wait, and none becomes a dead letter."""
    folder = Failing(uploads, number, everything=True)
    async with store_settings.open(uploads=folder) as ctx:
        user = await ctx.users.add({})
        ids = {spool.put(sighting(person)) for person in (1, 2, 3, 4)}
        async with recording(ctx, user, spool) as running:
            await until(lambda: len(running.observer.outcomes) >= 12)
            assert running.recorder.fault is not None
            assert os.strerror(number) in running.recorder.fault
            folder.number = None
            await asyncio.wait_for(running.recorder.drained(), DEADLINE_SECONDS)
        assert not dead(spool)
        await assert_agreement(ctx, user, uploads, ids)


class Away(FolderUploads):
    """A folder that is not available at first."""

    away = True

    async def put(self, key: str, data: bytes, content_type: str) -> str:
        if self.away:
            raise UploadError("the folder is away")
        return await super().put(key, data, content_type)


@pytest.mark.parametrize("gone", ["gallery", "face"])
async def test_recreates_what_was_removed_between_two_attempts(
    store_settings: StoreArguments, spool: Spool, uploads: Path, gone: str
) -> None:
    """A removed gallery or partly stored face is created again."""
    folder = Away(uploads)
    async with store_settings.open(uploads=folder) as ctx:
        user = await ctx.users.add({})
        sighting_id = spool.put(sighting(1))
        async with recording(ctx, user, spool) as running:
            await until(lambda: running.recorder.fault is not None)
            if gone == "gallery":
                assert await ctx.galleries.remove_one(user, {"name": "persons"})
            else:
                assert await ctx.faces.remove_one(user, {"sighting_id": sighting_id})
            failures = len(running.observer.outcomes)
            await until(lambda: len(running.observer.outcomes) >= failures + 2)
            folder.away = False
            await asyncio.wait_for(running.recorder.drained(), DEADLINE_SECONDS)
        await assert_agreement(ctx, user, uploads, {sighting_id})


async def test_backs_off_during_an_outage(
    store_settings: StoreArguments, spool: Spool, uploads: Path
) -> None:
    """While a hundred sightings wait, they are not all tried at once."""
    async with store_settings.open() as ctx:
        user = await ctx.users.add({})
        block(uploads)
        for person in range(100):
            spool.put(sighting(person))
        observer = SightingOutcomes()
        recorder = Recorder(
            ctx,
            user,
            spool,
            RECORDING,
            observer,
            lambda _: None,
            first_pause_seconds=0.2,
            longest_pause_seconds=0.4,
        )
        task = asyncio.create_task(recorder.run())
        await asyncio.sleep(2)
        recorder.stop()
        await task
    assert 3 <= len(observer.outcomes) <= 2 / 0.1

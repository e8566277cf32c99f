"""The recorder's guarantee: a kill at any moment neither loses a sighting nor stores it twice."""

import asyncio
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

from bson import ObjectId
from pydantic import SecretStr

from store.context import Context
from store.mongod.embedded import PrivateMongod
from store.mongod.program import find_mongod
from store.observer import UnobservedStore
from store.settings import StoreSettings
from store.spool.spool import Spool
from tests.integration.store.record_spool import main
from tests.integration.store.recorders import recording
from tests.mongo import StoreArguments
from tests.sightings import sighting
from tests.store_checks import assert_agreement

KILLS = 10
WORKING_RUN_EVERY = 5
"""Every fifth run is killed only after it has stored something; others may be killed while they wait for the
lease of a killed run."""
MAX_RUN_SECONDS = 0.1
PEOPLE = 5
LOOKS = 16
LEASE_AND_REST_SECONDS = 40
"""A killed run may have held a lease, which has to expire first."""


def kill_recorders(settings: StoreArguments, user: ObjectId) -> list[int]:
    """Start and kill recorders; returns the number of waiting sightings after each kill."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([main.__module__])
    generator = random.Random(20)  # noqa: S311 - a fixed seed
    waiting = []
    for number in range(KILLS):
        begun, at_work = processes.Pipe(duplex=False)
        process = processes.Process(target=main, args=(settings, user, at_work))
        process.start()
        at_work.close()
        assert begun.recv() == "at work"
        if number % WORKING_RUN_EVERY == 0:
            _until_fewer(settings, len(_waiting(settings)))
        time.sleep(generator.uniform(0, MAX_RUN_SECONDS))
        process.kill()
        process.join()
        begun.close()
        waiting.append(len(_waiting(settings)))
    return waiting


def _waiting(settings: StoreArguments) -> list[Path]:
    return list((settings.data_dir / "spool").glob("*.sighting"))


def _until_fewer(settings: StoreArguments, number: int) -> None:
    end = time.monotonic() + LEASE_AND_REST_SECONDS
    while len(_waiting(settings)) >= number:
        assert time.monotonic() < end, "nothing was stored"
        time.sleep(0.002)


async def test_a_kill_at_any_moment_neither_loses_nor_repeats_a_sighting(
    store_settings: StoreArguments,
) -> None:
    """After many SIGKILLs at random moments and one complete run every sighting is stored exactly once."""
    folder = store_settings.data_dir / "spool"
    before = Spool(folder, 1_000_000_000, UnobservedStore())
    ids = {
        before.put(sighting(person, look, cam_id=f"cam{person % 2}"))
        for look in range(LOOKS)
        for person in range(PEOPLE)
    }
    async with store_settings.open() as ctx:
        user = await ctx.users.add({})
    waiting = await asyncio.to_thread(kill_recorders, store_settings, user["_id"])
    assert len(ids) > waiting[-1] > 0, "the kills have to come while there is work; change LOOKS"
    async with store_settings.open() as ctx:
        spool = Spool(folder, 1_000_000_000, UnobservedStore())
        assert len(spool) == waiting[-1]
        async with recording(ctx, user, spool) as running:
            await asyncio.wait_for(running.recorder.drained(), LEASE_AND_REST_SECONDS)
        await ctx.uploads.remove_leftovers(0)
        uploads = store_settings.data_dir / "uploads"
        faces = await assert_agreement(ctx, user, uploads, ids)
        by_person = {(face["person_id"], face["detector_info"]["visit_id"].split("-")[1]) for face in faces}
        assert len(by_person) == PEOPLE
        for gallery in {"default", *map(ctx.persons.gallery_of, ("cam0", "cam1"))}:
            count = await ctx.faces.count(user, {"gallery": gallery})
            assert await ctx.facens.count(user["_id"], gallery) == count > 0
    assert [path.name for path in folder.rglob("*")] == ["dead"]


async def test_continues_after_mongod_was_killed(tmp_path: Path) -> None:
    """After two kills of mongod every sighting is stored exactly once."""
    mongod = PrivateMongod(tmp_path / "mongod", find_mongod)
    async with (
        mongod.running() as url,
        Context.open(StoreSettings(url=SecretStr(url)), data_dir=tmp_path) as ctx,
    ):
        user = await ctx.users.add({})
        spool = Spool(tmp_path / "spool", 1_000_000_000, UnobservedStore())
        ids = {spool.put(sighting(person, look)) for look in range(10) for person in range(4)}
        async with recording(ctx, user, spool) as running:
            for stored in (5, 20):
                while len(running.events) < stored:  # noqa: ASYNC110 - a moment in the middle, from outside
                    await asyncio.sleep(0.01)
                assert mongod.pid is not None
                os.kill(mongod.pid, signal.SIGKILL)
            await asyncio.wait_for(running.recorder.drained(), 60)
        faces = await assert_agreement(ctx, user, tmp_path / "uploads", ids)
    assert len({face["person_id"] for face in faces}) == 4

"""A process that is frozen in the middle of a job."""

import asyncio
import multiprocessing
import os
import signal

import pytest

from store.mongo import term_leases
from store.mongo.term_leases import TermLeases
from tests.integration.store.mongo.frozen_job import LEASE_SECONDS, main
from tests.mongo import StoreArguments


async def test_a_frozen_job_does_not_continue_beside_its_successor(
    store_settings: StoreArguments, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After SIGSTOP another box takes the lease. When the first goes on, the job is cancelled: at most the
    operation that was on its way to MongoDB takes effect."""
    monkeypatch.setattr(term_leases, "LEASE_SECONDS", LEASE_SECONDS)
    async with store_settings.open() as ctx:
        user = await ctx.users.add({})
        here, there = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(
            target=main, args=(store_settings, user["_id"], there)
        )
        process.start()
        try:
            assert await asyncio.to_thread(here.poll, 120)
            assert here.recv() == "counted"
            assert process.pid is not None
            os.kill(process.pid, signal.SIGSTOP)
            second = TermLeases(ctx.database, "job", user["_id"], "yard")
            await asyncio.sleep(LEASE_SECONDS + 0.5)
            assert (await second.renew(["merge"]))["merge"].is_ours
            before = await ctx.database["numbers"].find_one({"_id": "job"})
            os.kill(process.pid, signal.SIGCONT)
            while (said := await asyncio.to_thread(here.recv)) == "counted":
                pass
            after = await ctx.database["numbers"].find_one({"_id": "job"})
        finally:
            process.kill()
            process.join()
        assert "the lease merge was lost" in said
        assert before is not None and after is not None
        assert after["count"] - before["count"] <= 1
        assert (await second.renew(["merge"]))["merge"].is_ours

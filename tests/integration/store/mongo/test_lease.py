"""A lease has one holder at a time, across all processes on one database."""

import asyncio
import time
from datetime import UTC, timedelta

import pytest
from bson import ObjectId

from store.context import Context
from store.errors import StoreUnavailableError
from store.mongo import lease
from store.mongo.lease import Leases


async def test_only_one_holds_a_lease(ctx: Context) -> None:
    """Twenty concurrent holders, as different processes, get it one after the other."""
    inside = most = done = 0

    async def work() -> None:
        nonlocal inside, most, done
        async with Leases(ctx.database).held("door"):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.002)
            inside -= 1
            done += 1

    await asyncio.gather(*(work() for _ in range(20)))
    assert (most, done) == (1, 20)


async def test_a_lease_taken_by_a_later_clock_reading_is_respected(
    ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Concurrent updates may be applied in another order than their clock readings; a far expiry is
    malformed."""
    monkeypatch.setattr(lease, "PATIENCE_SECONDS", 0.2)
    now = (await ctx.database.command("hello"))["localTime"].replace(tzinfo=UTC)
    leases = ctx.database["leases"]
    for seconds, taken in ((0.5, False), (3600, True)):
        expires = now + timedelta(seconds=lease.HELD_SECONDS + seconds)
        await leases.replace_one({"_id": "door"}, {"holder": ObjectId(), "expires": expires}, upsert=True)
        if taken:
            await Leases(ctx.database)._acquire("door")
        else:
            with pytest.raises(StoreUnavailableError, match="the lease door"):
                await Leases(ctx.database)._acquire("door")


async def test_a_lease_without_a_holder_is_free(ctx: Context) -> None:
    """Even if it has not expired."""
    now = (await ctx.database.command("hello"))["localTime"].replace(tzinfo=UTC)
    await ctx.database["leases"].insert_one({"_id": "door", "expires": now + timedelta(seconds=5)})
    async with Leases(ctx.database).held("door"):
        assert await ctx.database["leases"].find_one({"_id": "door", "holder": {"$type": "objectId"}})


async def test_the_lease_of_a_dead_holder_expires(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the server's clock, whatever the local clock shows."""
    monkeypatch.setattr(lease, "HELD_SECONDS", 0.5)
    await Leases(ctx.database)._acquire("door")
    began = time.monotonic()
    monkeypatch.setattr(time, "time", lambda: 4e9)
    async with Leases(ctx.database).held("door"):
        assert time.monotonic() - began > 0.4


async def test_work_is_cancelled_before_its_lease_expires(
    ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before another process can take the lease; the error says that it can be tried again."""
    monkeypatch.setattr(lease, "HELD_SECONDS", 1.0)
    monkeypatch.setattr(lease, "MARGIN_SECONDS", 0.8)
    with pytest.raises(StoreUnavailableError, match="longer than its time limit"):
        async with Leases(ctx.database).held("door"):
            await asyncio.sleep(5)
    began = time.monotonic()
    async with Leases(ctx.database).held("door"):
        assert time.monotonic() - began < 0.7


async def test_waiting_has_a_timeout(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the lease."""
    monkeypatch.setattr(lease, "PATIENCE_SECONDS", 0.2)
    async with Leases(ctx.database).held("door"):
        with pytest.raises(StoreUnavailableError, match="the lease door"):
            await Leases(ctx.database)._acquire("door")

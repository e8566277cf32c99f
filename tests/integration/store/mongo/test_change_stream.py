"""Notifications about changes of a collection."""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest
from pydantic import SecretStr

from store import Context, StoreSettings
from store.mongo.change_stream import watch
from store.mongo.client import Database, connect
from store.mongod.program import find_mongod

SOON = 5.0


async def test_notifies_of_every_change_and_of_the_start(ctx: Context) -> None:
    """Changes before the stream was open may have been missed, so the start is a notification."""
    told = asyncio.Event()
    watching = asyncio.create_task(watch(ctx.database["cameras"], told.set))

    async def hears() -> None:
        await asyncio.wait_for(told.wait(), SOON)
        told.clear()

    user = await ctx.users.add({})
    await hears()
    await asyncio.sleep(1)
    assert not told.is_set()  # nothing happens, nothing is told
    await ctx.cameras.add(user, {"id": "door", "url": "rtsp://h/live"})
    await hears()
    await ctx.cameras.update_one(user, {"id": "door"}, {"$set": {"max_fps": 3}})
    await hears()
    await ctx.cameras.remove_one(user, {"id": "door"})
    await hears()
    assert not watching.done()
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching


@pytest.fixture
async def without_streams() -> AsyncIterator[Database]:
    """A MongoDB that is no replica set."""
    folder = Path(tempfile.mkdtemp(prefix="facend-"))  # a unix socket's path is short
    place = folder / "db.sock"
    server = await asyncio.create_subprocess_exec(
        find_mongod(),
        *("--dbpath", str(folder), "--bind_ip", str(place), "--unixSocketPrefix", str(folder), "--quiet"),
        stdout=asyncio.subprocess.DEVNULL,
    )
    url = f"mongodb://{quote(str(place), safe='')}/"
    settings = StoreSettings(url=SecretStr(url), connect_timeout_seconds=30)
    try:
        async with connect(url, settings) as database:
            yield database
    finally:
        server.terminate()
        await server.wait()
        shutil.rmtree(folder)


async def test_returns_without_change_streams(without_streams: Database) -> None:
    """The caller then polls."""
    await asyncio.wait_for(watch(without_streams["cameras"], lambda: None), 60)

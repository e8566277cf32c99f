"""Sightings whose pictures an upload server refuses, with a real HTTP server."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from store.collections.users import User
from store.context import Context
from store.observer import UnobservedStore
from store.settings import WhenFull
from store.spool.codec import encode
from store.spool.retries import MIN_DIFFERENT
from store.spool.spool import Spool
from store.uploads.webdav import PICTURE_STATUSES, WebDavUploads
from tests.integration.store.recorders import DEADLINE_SECONDS, LARGE, dead, large, recording, until
from tests.mongo import StoreArguments
from tests.sightings import sighting
from tests.upload_answers import STORED, Answer, AnsweringServer, answering_server

ABOUT_THE_SERVER = (
    301,
    307,
    401,
    403,
    404,
    405,
    409,
    418,
    423,
    426,
    429,
    451,
    500,
    501,
    502,
    503,
    504,
    507,
    599,
)


def refusing_large(status: int, **headers: str) -> Callable[[str, bytes], Answer]:
    return lambda path, body: (status, headers) if len(body) > LARGE else STORED


@pytest.fixture
def server() -> Iterator[AnsweringServer]:
    with answering_server() as one:
        yield one


@pytest.fixture
async def ctx(store_settings: StoreArguments, server: AnsweringServer) -> AsyncIterator[Context]:
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(httpx.AsyncClient())
        yield await stack.enter_async_context(store_settings.open(uploads=WebDavUploads(client, server.url)))


@pytest.mark.parametrize("status", sorted(PICTURE_STATUSES))
async def test_a_refused_picture_does_not_block_others(
    ctx: Context, user: User, spool: Spool, server: AnsweringServer, status: int
) -> None:
    """The sighting becomes a dead letter with the answer as its reason, and leaves no face, picture or
    person; the others are stored."""
    server.answer = refusing_large(status)
    bad = spool.put(large(1))
    good = {spool.put(sighting(person)) for person in (2, 3, 4)}
    async with recording(ctx, user, spool) as running:
        await asyncio.wait_for(running.recorder.drained(), DEADLINE_SECONDS)
        assert running.recorder.fault is None
    assert dead(spool) == {bad}
    assert f": {status} " in (spool.folder / "dead" / f"{bad}.sighting.reason").read_text()
    faces = await ctx.faces.find(user, None)
    assert {face["sighting_id"] for face in faces} == good
    assert len(server.files) == 3 * len(good)
    assert await ctx.persons.count(user, None) == len(good)


async def test_a_refusal_with_retry_after_is_temporary(
    ctx: Context, user: User, spool: Spool, server: AnsweringServer
) -> None:
    """After 413 with Retry-After the sighting waits, because the picture may be accepted later."""
    server.answer = refusing_large(413, **{"Retry-After": "0"})
    spool.put(large(1))
    async with recording(ctx, user, spool) as running:
        await until(lambda: len(running.observer.outcomes) >= 3)
        assert not dead(spool)
        server.answer = lambda path, body: STORED
        await asyncio.wait_for(running.recorder.drained(), DEADLINE_SECONDS)
    assert len(running.events) == 1


@pytest.mark.parametrize("status", ABOUT_THE_SERVER)
async def test_a_failing_server_is_a_state(
    ctx: Context, user: User, spool: Spool, server: AnsweringServer, status: int
) -> None:
    """While it refuses everything, all sightings wait and the reason is shown; then all are stored."""
    location = "https://bob:hush@example.org/?X-Amz-Signature=hush"
    server.answer = lambda path, body: (status, {"Location": location})
    ids = {spool.put(sighting(person)) for person in range(1, 5)}
    async with recording(ctx, user, spool) as running:
        await until(lambda: len(running.observer.outcomes) >= 12)
        assert running.recorder.fault is not None
        assert f": {status} " in running.recorder.fault
        assert "hush" not in running.recorder.fault
        assert not dead(spool)
        assert set(spool.pending()) == ids
        server.answer = lambda path, body: STORED
        await asyncio.wait_for(running.recorder.drained(), DEADLINE_SECONDS)
        assert running.recorder.fault is None
    assert {event.sighting_id for event in running.events} == ids


@pytest.mark.parametrize("status", [301, 403, 423, 500, 503])
async def test_a_server_error_for_one_picture_does_not_block_others(
    ctx: Context, user: User, spool: Spool, server: AnsweringServer, status: int
) -> None:
    """An answer that concerns the server, but only for one picture: this sighting waits, and the others are
    stored."""
    server.answer = refusing_large(status, Location="/")
    bad = spool.put(large(1))
    good = {spool.put(sighting(person)) for person in range(2, 8)}
    async with recording(ctx, user, spool) as running:
        await until(lambda: len(running.events) == len(good))
        assert spool.pending() == [bad]
        await until(lambda: running.recorder.set_aside == 1)
        later = spool.put(sighting(8))
        await until(lambda: len(running.events) == len(good) + 1)
        assert not dead(spool)
        server.answer = lambda path, body: STORED
        await asyncio.wait_for(running.recorder.drained(), DEADLINE_SECONDS)
    assert {event.sighting_id for event in running.events} == good | {bad, later}


async def test_a_server_that_refuses_every_picture_does_not_empty_the_spool(
    ctx: Context, user: User, spool: Spool, server: AnsweringServer
) -> None:
    """If every picture is refused with 413, the server is at fault: after the first few, sightings wait."""
    server.answer = lambda path, body: (413, {})
    ids = {spool.put(sighting(person)) for person in range(1, 11)}
    async with recording(ctx, user, spool) as running:
        await until(lambda: running.recorder.fault is not None)
        await asyncio.sleep(0.5)
        assert running.recorder.fault is not None
        assert "client_max_body_size" in running.recorder.fault
        assert len(dead(spool)) == MIN_DIFFERENT - 1
        server.answer = lambda path, body: STORED
        await asyncio.wait_for(running.recorder.drained(), DEADLINE_SECONDS)
    assert {event.sighting_id for event in running.events} == ids - dead(spool)
    assert len(dead(spool)) == MIN_DIFFERENT - 1


@pytest.mark.parametrize("status", [429, 503])
async def test_respects_retry_after(
    ctx: Context, user: User, spool: Spool, server: AnsweringServer, status: int
) -> None:
    """Nothing is sent before the time that the server asked for."""
    moments: list[float] = []

    def answer(path: str, body: bytes) -> Answer:
        moments.append(time.monotonic())
        return (status, {"Retry-After": "1"}) if len(moments) == 1 else STORED

    server.answer = answer
    for person in range(1, 4):
        spool.put(sighting(person))
    async with recording(ctx, user, spool) as running:
        await asyncio.wait_for(running.recorder.drained(), DEADLINE_SECONDS)
    assert moments[1] - moments[0] >= 1


async def test_a_stored_sighting_that_returns_keeps_its_face(
    ctx: Context, user: User, spool: Spool, server: AnsweringServer
) -> None:
    """A power failure may bring a stored sighting back; a refusal of its pictures then removes nothing."""
    sighting_id = spool.put(large(1))
    content = (spool.folder / f"{sighting_id}.sighting").read_bytes()
    async with recording(ctx, user, spool) as running:
        await asyncio.wait_for(running.recorder.drained(), DEADLINE_SECONDS)
    (spool.folder / f"{sighting_id}.sighting").write_bytes(content)
    server.answer = refusing_large(413)
    again = Spool(spool.folder, 100_000_000, UnobservedStore())
    async with recording(ctx, user, again) as running:
        await asyncio.wait_for(running.recorder.drained(), DEADLINE_SECONDS)
    assert len(await ctx.faces.find(user, None)) == 1
    assert len(server.files) == 3


@pytest.mark.parametrize("when_full", ["drop_poorest", "drop_oldest"])
async def test_set_aside_sightings_can_be_evicted(
    ctx: Context, user: User, tmp_path: Path, server: AnsweringServer, when_full: WhenFull
) -> None:
    """During an outage a better sighting replaces the poorest; partial results of the evicted ones are
    removed afterwards."""
    server.answer = lambda path, body: (503, {})
    poor = [sighting(person, score=-4.0) for person in range(1, 6)]
    spool = Spool(tmp_path / "small", 5 * len(encode(poor[0])) + 5000, UnobservedStore(), when_full)
    ids = [spool.put(one) for one in poor]
    async with recording(ctx, user, spool) as running:
        await until(lambda: running.recorder.set_aside == 5)
        better = [spool.put(sighting(person, score=-0.5)) for person in (6, 7)]
        await until(lambda: running.recorder.set_aside == 5)
        assert set(spool.pending()) == {*ids[2:], *better}
        server.answer = lambda path, body: STORED
        await asyncio.wait_for(running.recorder.drained(), DEADLINE_SECONDS)
        assert running.recorder.set_aside == 0
    faces = await ctx.faces.find(user, None)
    assert {face["sighting_id"] for face in faces} == {*ids[2:], *better}
    persons = {face["person_id"] for face in faces} - {None}
    assert await ctx.persons.count(user, None) == len(persons)

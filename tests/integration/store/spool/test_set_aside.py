"""One sighting that cannot be stored, and the others; with a real MongoDB and a real HTTP server."""

import asyncio
import contextlib
import errno
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from store.collections.users import User
from store.context import Context
from store.errors import StoreError, UploadError
from store.observer import UnobservedStore
from store.settings import WhenFull
from store.spool.codec import encode
from store.spool.recorder import Recorder
from store.spool.retries import DIFFERENT, STRIKES
from store.spool.spool import Spool
from store.uploads.folder import FolderUploads
from store.uploads.webdav import PICTURE_STATUSES, WebDavUploads
from tests.integration.store.recorders import recording
from tests.mongo import StoreArguments
from tests.sightings import RECORDING, photo, sighting
from tests.store_checks import assert_agreement, block
from tests.upload_answers import STORED, Answer, AnsweringServer, answering_server

LARGE = 20_000
DEADLINE_SECONDS = 20
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


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():  # noqa: ASYNC110 - observed from outside, as by an operator
            await asyncio.sleep(0.02)


def large(person: int = 1, look: int = 0):  # type: ignore[no-untyped-def]
    """A sighting whose photo alone has more than LARGE bytes."""
    return sighting(person, look, photo_bytes=photo(60 + person, 640, 480))


def refusing_large(status: int, **headers: str) -> Callable[[str, bytes], Answer]:
    return lambda path, body: (status, headers) if len(body) > LARGE else STORED


def dead(spool: Spool) -> set[str]:
    return {path.stem for path in (spool.folder / "dead").glob("*.sighting")}


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
async def test_a_picture_that_is_refused_for_good_holds_up_nobody(
    ctx: Context, user: User, spool: Spool, server: AnsweringServer, status: int
) -> None:
    """It goes to `dead` with the answer as its reason and leaves no face, picture or person; the others are
    stored."""
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
    """413 with Retry-After says that the picture may be accepted later: it waits."""
    server.answer = refusing_large(413, **{"Retry-After": "0"})
    spool.put(large(1))
    async with recording(ctx, user, spool) as running:
        await until(lambda: len(running.observer.sightings) >= 3)
        assert not dead(spool)
        server.answer = lambda path, body: STORED
        await asyncio.wait_for(running.recorder.drained(), DEADLINE_SECONDS)
    assert len(running.events) == 1


@pytest.mark.parametrize("status", ABOUT_THE_SERVER)
async def test_trouble_of_the_server_is_a_state(
    ctx: Context, user: User, spool: Spool, server: AnsweringServer, status: int
) -> None:
    """While it refuses everything nothing is given up, and the reason shows; then everything is stored."""
    location = "https://bob:hush@example.org/?X-Amz-Signature=hush"
    server.answer = lambda path, body: (status, {"Location": location})
    ids = {spool.put(sighting(person)) for person in range(1, 5)}
    async with recording(ctx, user, spool) as running:
        await until(lambda: len(running.observer.sightings) >= 12)
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
async def test_what_only_one_picture_meets_holds_up_nobody(
    ctx: Context, user: User, spool: Spool, server: AnsweringServer, status: int
) -> None:
    """An answer about the server, given to one picture alone: it waits, the others are stored; in the end it
    is, too."""
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


async def test_a_server_that_refuses_every_picture_empties_no_spool(
    ctx: Context, user: User, spool: Spool, server: AnsweringServer
) -> None:
    """413 for everything is a setting of the server: after the first few the others wait."""
    server.answer = lambda path, body: (413, {})
    ids = {spool.put(sighting(person)) for person in range(1, 11)}
    async with recording(ctx, user, spool) as running:
        await until(lambda: running.recorder.fault is not None)
        await asyncio.sleep(0.5)
        assert running.recorder.fault is not None
        assert "client_max_body_size" in running.recorder.fault
        assert len(dead(spool)) == DIFFERENT - 1
        server.answer = lambda path, body: STORED
        await asyncio.wait_for(running.recorder.drained(), DEADLINE_SECONDS)
    assert {event.sighting_id for event in running.events} == ids - dead(spool)
    assert len(dead(spool)) == DIFFERENT - 1


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_honoured(
    ctx: Context, user: User, spool: Spool, server: AnsweringServer, status: int
) -> None:
    """Nothing is sent before the time that the server has asked for."""
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


async def test_a_stored_sighting_that_comes_back_and_is_refused_keeps_its_face(
    ctx: Context, user: User, spool: Spool, server: AnsweringServer
) -> None:
    """A power cut may bring back a sighting that was stored; a refusal of its pictures then removes none."""
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


class Poisoned(FolderUploads):
    """A folder that fails for large pictures, for a reason that nobody foresaw."""

    failures = 0

    async def put(self, key: str, data: bytes, content_type: str) -> str:
        if len(data) > LARGE:
            self.failures += 1
            raise StoreError("something that nobody foresaw")
        return await super().put(key, data, content_type)


async def test_a_poison_sighting_is_given_up_while_others_go_through(
    store_settings: StoreArguments, spool: Spool, uploads: Path
) -> None:
    """After ten failures, others being stored between them, it goes to `dead`; alone it waits."""
    folder = Poisoned(uploads)
    async with store_settings.open(uploads=folder) as ctx:
        user = await ctx.users.add({})
        bad = spool.put(large(1))
        async with recording(ctx, user, spool) as running:
            await until(lambda: folder.failures > STRIKES)
            assert spool.pending() == [bad]
            look = 0
            while not dead(spool):
                look += 1
                seen, failures = len(running.events), folder.failures
                spool.put(sighting(2, look))
                await until(lambda seen=seen: len(running.events) > seen)  # type: ignore[misc]
                await until(lambda before=failures: folder.failures > before or bool(dead(spool)))  # type: ignore[misc]
        assert look >= STRIKES
        assert dead(spool) == {bad}
        await assert_agreement(ctx, user, uploads, {event.sighting_id for event in running.events})


class Away(FolderUploads):
    """A folder that is away for a while."""

    away = True

    async def put(self, key: str, data: bytes, content_type: str) -> str:
        if self.away:
            raise UploadError("the folder is away")
        return await super().put(key, data, content_type)


@pytest.mark.parametrize("gone", ["gallery", "face"])
async def test_what_was_removed_between_two_attempts_is_made_again(
    store_settings: StoreArguments, spool: Spool, uploads: Path, gone: str
) -> None:
    """A gallery is made again; a half-stored face that was removed is stored anew."""
    folder = Away(uploads)
    async with store_settings.open(uploads=folder) as ctx:
        user = await ctx.users.add({})
        sighting_id = spool.put(sighting(1))
        async with recording(ctx, user, spool) as running:
            await until(lambda: running.recorder.fault is not None)
            if gone == "gallery":
                assert await ctx.galleries.remove_one(user, {"name": "cam_door"})
            else:
                assert await ctx.faces.remove_one(user, {"sighting_id": sighting_id})
            failures = len(running.observer.sightings)
            await until(lambda: len(running.observer.sightings) >= failures + 2)
            folder.away = False
            await asyncio.wait_for(running.recorder.drained(), DEADLINE_SECONDS)
        await assert_agreement(ctx, user, uploads, {sighting_id})


class Failing(FolderUploads):
    """A folder on which large pictures fail as the system says."""

    def __init__(self, folder: Path, number: int, *, everything: bool = False) -> None:
        super().__init__(folder)
        self.number: int | None = number
        self._everything = everything

    def _write(self, path: Path, data: bytes) -> None:
        if self.number is not None and (self._everything or len(data) > LARGE):
            raise OSError(self.number, os.strerror(self.number))
        super()._write(path, data)


@pytest.mark.parametrize("number", [errno.ENAMETOOLONG, errno.EFBIG, errno.EISDIR])
async def test_a_file_that_cannot_be_written_is_put_aside(
    store_settings: StoreArguments, spool: Spool, uploads: Path, number: int
) -> None:
    """A name too long, a file too large: this one picture's own trouble; the others are stored."""
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
    """A full disk, a read-only folder: everything waits, nothing is given up."""
    folder = Failing(uploads, number, everything=True)
    async with store_settings.open(uploads=folder) as ctx:
        user = await ctx.users.add({})
        ids = {spool.put(sighting(person)) for person in (1, 2, 3, 4)}
        async with recording(ctx, user, spool) as running:
            await until(lambda: len(running.observer.sightings) >= 12)
            assert running.recorder.fault is not None
            assert os.strerror(number) in running.recorder.fault
            folder.number = None
            await asyncio.wait_for(running.recorder.drained(), DEADLINE_SECONDS)
        assert not dead(spool)
        await assert_agreement(ctx, user, uploads, ids)


async def test_a_store_that_is_away_is_asked_at_growing_intervals(
    store_settings: StoreArguments, spool: Spool, uploads: Path
) -> None:
    """A hundred sightings wait: the recorder does not go through them all at once."""
    async with store_settings.open() as ctx:
        user = await ctx.users.add({})
        block(uploads)
        for person in range(100):
            spool.put(sighting(person))
        failures: list[str] = []

        class Counting(UnobservedStore):
            def sighting(self, cam_id: str, outcome: str) -> None:
                failures.append(outcome)

        recorder = Recorder(
            ctx,
            user,
            spool,
            RECORDING,
            Counting(),
            lambda _: None,
            first_pause_seconds=0.2,
            longest_pause_seconds=0.4,
        )
        task = asyncio.create_task(recorder.run())
        await asyncio.sleep(2)
        recorder.stop()
        await task
    assert 3 <= len(failures) <= 2 / 0.1


class Crashing(FolderUploads):
    """A folder with a programming error, which large pictures meet."""

    async def put(self, key: str, data: bytes, content_type: str) -> str:
        if len(data) > LARGE:
            raise KeyError("a programming error")
        return await super().put(key, data, content_type)


async def run_until_end(
    ctx: Context, user: User, spool: Spool, seconds: float = DEADLINE_SECONDS
) -> list[str]:
    """One run of a recorder, until it ends by an exception or nothing waits; the sightings that it stored."""
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


@pytest.mark.parametrize("when_full", ["drop_poorest", "drop_oldest"])
async def test_set_aside_sightings_are_evicted_as_any_other(
    ctx: Context, user: User, tmp_path: Path, server: AnsweringServer, when_full: WhenFull
) -> None:
    """During an outage each sighting is tried and a better one is accepted for the poorest; what the attempts
    had stored of the evicted ones is removed afterwards, and nothing is tried again without a pause."""
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


async def test_a_sighting_that_ends_the_process_is_given_up_after_three_ends(
    store_settings: StoreArguments, spool: Spool, uploads: Path
) -> None:
    """The next run stores the others first, and does not try it before; then it goes to `dead`."""
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
async def test_a_damaged_list_of_crashes_is_as_good_as_none(
    ctx: Context, user: User, spool: Spool, content: bytes, name: str
) -> None:
    """It neither ends the process nor goes to `dead`; sightings are stored."""
    (spool.folder / name).write_bytes(content)
    again = Spool(spool.folder, 100_000_000, UnobservedStore())
    again.put(sighting(1))
    async with recording(ctx, user, again) as running:
        await asyncio.wait_for(running.recorder.drained(), DEADLINE_SECONDS)
    assert not list((spool.folder / "dead").iterdir())

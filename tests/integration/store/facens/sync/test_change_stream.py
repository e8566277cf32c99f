"""The facen storage follows changes by other processes."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from pydantic import SecretStr

from store import Context, PersonsSettings, StoreSettings, User
from store.facens.sync import change_stream as following
from store.mongod.program import find_mongod
from tests.facens import face, person_facen, stored
from tests.mongo import StoreArguments

SOON = 5.0


@pytest.fixture
async def other(store_settings: StoreArguments, ctx: Context) -> AsyncIterator[Context]:
    """A second context on the same database, with an empty storage of its own, as a command has."""
    async with store_settings.open(load_facens=False) as context:
        yield context


async def soon(look: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(SOON):
        # Another process's doing: there is no event here to wait for.
        while not await look():  # noqa: ASYNC110  see above
            await asyncio.sleep(0.01)


async def holds(ctx: Context, user: User, gallery: str, ids: list[int]) -> None:
    async def look() -> bool:
        return await ctx.facens.ids(user["_id"], gallery) == ids

    await soon(look)


async def test_finds_faces_added_by_another_process(ctx: Context, other: Context, user: User) -> None:
    """Including old faces that it added to a gallery."""
    old = await ctx.faces.add(user, face(person_facen(1)))
    new = await stored(other, user, person_facen(2), ["staff"])
    await holds(ctx, user, "staff", [new["_id"]])
    (best,) = await ctx.faces.identify(user, "staff", new, 1, 0.9)
    assert best.face["_id"] == new["_id"]
    await other.faces.add_to_galleries(old, ["staff"])
    await holds(ctx, user, "staff", sorted([old["_id"], new["_id"]]))


async def test_removes_entries_removed_by_another_process(ctx: Context, other: Context, user: User) -> None:
    """Faces that it removed, or removed from a gallery, are removed from the storage."""
    here = [await stored(ctx, user, person_facen(number), ["staff", "door"]) for number in range(3)]
    await other.faces.del_from_galleries(here[0], ["staff"])
    await holds(ctx, user, "staff", [here[1]["_id"], here[2]["_id"]])
    assert await other.faces.remove_one(user, {"_id": here[1]["_id"]})
    await holds(ctx, user, "staff", [here[2]["_id"]])
    await other.galleries.remove_one(user, {"name": "staff"})
    await holds(ctx, user, "staff", [])
    await holds(ctx, user, "door", [here[0]["_id"], here[2]["_id"]])
    await ctx.galleries.add(user, "staff")
    again = await ctx.faces.find_one(user, {"_id": here[0]["_id"]})
    assert again is not None
    await ctx.faces.add_to_galleries(again, ["staff"])
    await holds(ctx, user, "staff", [here[0]["_id"]])


async def test_replaces_a_facen_replaced_by_another_process(ctx: Context, other: Context, user: User) -> None:
    """Also if the face has the same id, and existed again before the change was applied."""
    await stored(ctx, user, person_facen(1), ["staff"], _id=4711)
    lock = ctx.faces.locks.get(4711)
    async with lock:  # nobody can look at the face here
        assert await other.faces.remove_one(user, {"_id": 4711})
        again = await stored(other, user, person_facen(2), ["staff"], _id=4711)

    async def is_found() -> bool:
        return len(await ctx.faces.identify(user, "staff", again, 1, 0.9)) == 1

    await soon(is_found)
    assert not (await ctx.facens.search(user["_id"], "staff", person_facen(1), 1, 0.9)).hits


async def test_own_changes_are_not_undone(ctx: Context, user: User) -> None:
    """Events of the process's own changes do not undo later ones."""
    for name in ("one", "two"):
        await ctx.galleries.add(user, name)
    faces = [await ctx.faces.add(user, face(person_facen(number))) for number in range(40)]

    async def move(number: int) -> None:
        one = faces[number]
        for _ in range(4):
            await ctx.faces.add_to_galleries(one, ["one"])
            await ctx.faces.add_to_galleries(one, ["two"])
            await ctx.faces.del_from_galleries(one, ["one"])
            assert one["_id"] not in await ctx.facens.ids(user["_id"], "one")
            assert one["_id"] in await ctx.facens.ids(user["_id"], "two")
            await ctx.faces.del_from_galleries(one, ["two"])
        await ctx.faces.add_to_galleries(one, ["one"])

    await asyncio.gather(*(move(number) for number in range(len(faces))))
    marker = await stored(ctx, user, person_facen(99), ["end"])
    await ctx.faces.remove_one(user, {"_id": marker["_id"]})
    await asyncio.sleep(1.0)  # the stream is in order: what was to come has come by then
    assert await ctx.facens.ids(user["_id"], "one") == sorted(one["_id"] for one in faces)
    assert await ctx.facens.ids(user["_id"], "two") == []


async def test_polls_a_mongodb_without_change_streams(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a replica set, faces added by another process are found some seconds later."""
    monkeypatch.setattr(following, "POLL_SECONDS", 0.2)
    folder = Path(tempfile.mkdtemp(prefix="facend-"))  # a unix socket's path is short
    command = [
        "--dbpath",
        str(folder),
        "--bind_ip",
        str(folder / "db.sock"),
        "--unixSocketPrefix",
        str(folder),
    ]
    server = await asyncio.create_subprocess_exec(
        find_mongod(), *command, "--quiet", stdout=asyncio.subprocess.DEVNULL
    )
    settings = StoreSettings(
        url=SecretStr(f"mongodb://{quote(str(folder / 'db.sock'), safe='')}/"), connect_timeout_seconds=30
    )
    here = StoreArguments(settings, PersonsSettings(), tmp_path)
    try:
        async with here.open() as ctx, here.open(load_facens=False) as other:
            user = await ctx.users.add({})
            new = await stored(other, user, person_facen(1), ["staff"])
            await holds(ctx, user, "staff", [new["_id"]])
    finally:
        server.terminate()
        await server.wait()
        shutil.rmtree(folder)

"""The local facen storage: start, snapshots, shards, and a kill."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from store import Context, FacensSettings, FacenStorageError, PackError
from store.facens.engine.sharded import ShardedFacens
from store.facens.sync import reconcile as reconciling
from store.facens.sync.reconcile import differences
from store.identity.erasure import Erasure
from store.upkeep.doctor.doctor import Doctor
from tests.facens import SIZE, face, person_facen, stored
from tests.mongo import StoreArguments

ROOT = Path(__file__).parents[5]
PACK = {"facen_size": SIZE, "pack": "opencv-zoo"}
THREE = FacensSettings(shards=3)


@asynccontextmanager
async def opened(store: StoreArguments, **options: object) -> AsyncIterator[Context]:
    async with store.open(**{**PACK, **options}) as ctx:
        yield ctx


async def assert_in_step(ctx: Context) -> None:
    """The doctor finds nothing, nor does a comparison of all ids."""
    assert [finding async for finding in Doctor(ctx).findings()] == []
    assert [found async for found in differences(ctx.database, ctx.facens)] == []


async def test_an_erased_persons_facens_are_not_on_disk(store_settings: StoreArguments) -> None:
    """Neither in an earlier snapshot, even if the erasing process has none open, nor in the next one."""
    folder = store_settings.data_dir / "facens"
    facen = person_facen(1)

    def on_disk() -> bool:
        return any(facen.tobytes() in path.read_bytes() for path in folder.iterdir())

    async with opened(store_settings) as ctx:
        user = await ctx.users.add({})
        person = await ctx.persons.add(user, {})
        await stored(ctx, user, facen, ["a"], person_id=person["_id"])
        await stored(ctx, user, person_facen(2), ["a"])
        await ctx.facens_lifecycle.save()
        assert on_disk()
        async with store_settings.open(load_facens=False) as other:
            await Erasure(other, user).erase(person["_id"])
        assert not on_disk()
        async with asyncio.timeout(10):
            while len(await ctx.facens.ids(user["_id"], "a")) > 1:  # noqa: ASYNC110  nothing tells of it
                await asyncio.sleep(0.05)
        await ctx.facens_lifecycle.save()
        assert [path.name for path in folder.iterdir()]
        assert not on_disk()


@pytest.mark.parametrize("settings", [FacensSettings(), THREE], ids=["one shard", "three shards"])
async def test_a_start_applies_changes_since_the_snapshot(
    store_settings: StoreArguments, settings: FacensSettings
) -> None:
    """Additions, removals, and dropped galleries since the snapshot."""
    async with opened(store_settings, facens_settings=settings) as ctx:
        user = await ctx.users.add({})
        faces = [await stored(ctx, user, person_facen(number), ["a", "b"]) for number in range(20)]
        await stored(ctx, user, person_facen(90), ["gone"])
        old = await ctx.faces.add(user, face(person_facen(77)))
        await ctx.facens_lifecycle.save()
    async with opened(store_settings, facens_settings=settings, load_facens=False) as ctx:
        for name in ("a", "b"):  # these three write to MongoDB only
            await ctx.facens.drop(user["_id"], name)
        new = await stored(ctx, user, person_facen(50), ["a", "new"])
        await ctx.faces.add_to_galleries(old, ["a"])
        await ctx.faces.del_from_galleries(faces[3], ["b"])
        await ctx.faces.remove_one(user, {"_id": faces[4]["_id"]})
        await ctx.galleries.remove_one(user, {"name": "gone"})
    with capture_logs() as logs:
        async with opened(store_settings, facens_settings=settings) as ctx:
            assert [line for line in logs if line["event"] == "loaded facens from a snapshot"]
            (line,) = [line for line in logs if line["event"] == "the store is open"]
            # A face counts once, in the gallery where it is met first.
            assert (line["added"], line["removed"]) == (2, 3)
            await assert_in_step(ctx)
            expected = {one["_id"] for one in [*faces, new, old]} - {faces[4]["_id"]}
            assert set(await ctx.facens.ids(user["_id"], "a")) == expected
            assert await ctx.facens.galleries() == [(user["_id"], name) for name in ("a", "b", "new")]
            (best,) = await ctx.faces.identify(user, "a", old, 1, 0.99)
            assert best.face["_id"] == old["_id"]


async def test_a_truncated_snapshot_is_rebuilt(store_settings: StoreArguments) -> None:
    """The log has the reason, the facens are loaded from MongoDB, and the next snapshot is valid."""
    async with opened(store_settings) as ctx:
        user = await ctx.users.add({})
        await stored(ctx, user, person_facen(1), ["a"])
        await ctx.facens_lifecycle.save()
    (path,) = (store_settings.data_dir / "facens").iterdir()
    path.write_bytes(path.read_bytes()[:-40])
    with capture_logs() as logs:
        async with opened(store_settings) as ctx:
            await assert_in_step(ctx)
            assert await ctx.facens.count(user["_id"], "a") == 1
            await ctx.facens_lifecycle.save()
    assert [line["reason"] for line in logs if "unusable" in line["event"]] == ["it is truncated"]
    with capture_logs() as logs:
        async with opened(store_settings):
            loaded = [line for line in logs if line["event"] == "loaded facens from a snapshot"]
            assert [line["facens"] for line in loaded] == [1]


async def test_a_snapshot_of_another_database_is_not_used(store_settings: StoreArguments) -> None:
    """A data folder copied to a box with another database adds no faces."""
    async with opened(store_settings) as ctx:
        user = await ctx.users.add({})
        await stored(ctx, user, person_facen(1), ["a"])
        await ctx.facens_lifecycle.save()
    other = replace(
        store_settings, settings=store_settings.settings.model_copy(update={"database": "test-other"})
    )
    try:
        with capture_logs() as logs:
            async with opened(other) as ctx:
                assert await ctx.facens.galleries() == []
        assert [line for line in logs if "its database is" in str(line.get("reason"))]
    finally:
        async with opened(other, load_facens=False) as ctx:
            await ctx.database.client.drop_database("test-other")


async def test_facens_of_another_pack_are_refused(store_settings: StoreArguments) -> None:
    """The database by its recorded pack, and a single face by its own; an empty database accepts any."""
    async with opened(store_settings, pack="first", facen_size=512):
        pass
    async with opened(store_settings) as ctx:  # nothing was stored yet
        user = await ctx.users.add({})
        one = await stored(ctx, user, person_facen(1), ["a"], detector_info={"pack": "opencv-zoo"})
        other = await ctx.faces.add(user, face(person_facen(2), detector_info={"pack": "another"}))
        with pytest.raises(ValueError, match="of the model pack another, not of opencv-zoo"):
            await ctx.faces.add_to_galleries(other, ["a"])
        await ctx.database["faces"].update_one({"_id": other["_id"]}, {"$set": {"gallery": ["a"]}})
    with pytest.raises(PackError, match=r"of the model pack opencv-zoo, not of buffalo_s.* re-embed"):
        async with opened(store_settings, pack="buffalo_s", facen_size=512):
            pass
    async with opened(store_settings) as ctx:
        assert await ctx.facens.ids(user["_id"], "a") == [one["_id"]]


async def test_an_old_databases_pack_is_read_from_its_faces(store_settings: StoreArguments) -> None:
    """If the database has no record of its pack yet."""
    async with store_settings.open() as ctx:
        user = await ctx.users.add({})
        await stored(ctx, user, person_facen(1), ["a"], detector_info={"pack": "opencv-zoo"})
    with pytest.raises(PackError, match="opencv-zoo"):
        async with opened(store_settings, pack="buffalo_s"):
            pass


async def test_a_recovered_shard_catches_up_before_it_is_live(store_settings: StoreArguments) -> None:
    """It has the additions and removals that it missed."""
    async with opened(store_settings, facens_settings=THREE) as ctx:
        assert isinstance(ctx.facens, ShardedFacens)
        user = await ctx.users.add({})
        faces = [await stored(ctx, user, person_facen(number), ["a"]) for number in range(30)]
        held = {name: await shard.ids(user["_id"], "a") for name, shard in _shards(ctx.facens)}
        assert all(held.values())
        ctx.facens.mark_down("shard 2", "somebody took it out")
        there = next(one for one in faces if one["_id"] not in held["shard 2"])
        away = next(one for one in faces if one["_id"] in held["shard 2"])
        with pytest.raises(FacenStorageError, match="shard 2 is down") as caught:
            await ctx.faces.identify(user, "a", there, 3, 0.9)
        assert caught.value.shard == "shard 2"
        found = await ctx.faces.identify(user, "a", there, 3, 0.9, ignore_errors=True)
        assert (found.live_server, found.total_servers, found[0].face["_id"]) == (2, 3, there["_id"])
        assert len(await ctx.faces.identify(user, "a", away, 3, 0.9, ignore_errors=True)) == 0
        with pytest.raises(FacenStorageError, match="shard 2"):
            await ctx.faces.remove_one(user, {"_id": away["_id"]})  # it goes from MongoDB all the same
        assert [(shard.name, shard.live) for shard in await ctx.facens.health()][1] == ("shard 2", False)
        await ctx.facens_lifecycle.recover_shards()
        await assert_in_step(ctx)
        assert all(shard.live for shard in await ctx.facens.health())
        found = await ctx.faces.identify(user, "a", away, 3, 0.9, ignore_errors=True)
        assert (found.live_server, found.total_servers, len(found)) == (3, 3, 0)


async def test_a_shard_is_not_live_while_it_catches_up(
    store_settings: StoreArguments, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Searches do not use it yet; additions reach it."""
    async with opened(store_settings, facens_settings=THREE) as ctx:
        assert isinstance(ctx.facens, ShardedFacens)
        user = await ctx.users.add({})
        first = await stored(ctx, user, person_facen(0), ["a"])
        ctx.facens.mark_down("shard 1", "a test")
        reached, go_on = asyncio.Event(), asyncio.Event()
        listed = reconciling.listed_galleries

        async def held(*arguments: object) -> object:
            reached.set()
            await go_on.wait()
            return await listed(*arguments)  # type: ignore[arg-type]  # passed on as they came

        monkeypatch.setattr(reconciling, "listed_galleries", held)
        healing = asyncio.create_task(ctx.facens_lifecycle.recover_shards())
        await asyncio.wait_for(reached.wait(), 5)
        more = [await stored(ctx, user, person_facen(number), ["a"]) for number in range(1, 12)]
        found = await ctx.faces.identify(user, "a", first, 20, 0.0, ignore_errors=True)
        assert (found.live_server, found.total_servers) == (2, 3)
        with pytest.raises(FacenStorageError, match="shard 1 is catching up"):
            await ctx.faces.identify(user, "a", first, 20, 0.0)
        go_on.set()
        await healing
        found = await ctx.faces.identify(user, "a", first, 20, 0.0, ignore_errors=True)
        assert (found.live_server, len(found)) == (3, 1 + len(more))


def _shards(facens: ShardedFacens) -> list[tuple[str, object]]:
    return list(zip(facens.names, facens.shards, strict=True))


CHURN = """
import asyncio, sys
from pathlib import Path
from pydantic import SecretStr
from bson import ObjectId
from store import Context, FacensSettings, StoreSettings
from tests.facens import person_facen, stored
from tests.integration.store.facens.sync.test_lifecycle import PACK

async def main(url, database, folder, owner, shards):
    settings = StoreSettings(url=SecretStr(url), database=database)
    facens = FacensSettings(shards=int(shards))
    async with Context.open(settings, data_dir=Path(folder), facens_settings=facens, **PACK) as ctx:
        async def save():
            while True:
                await ctx.facens_lifecycle.save()
                await asyncio.sleep(0)
        asyncio.get_running_loop().create_task(save())
        for number in range(10 ** 6):
            made = await stored(ctx, ObjectId(owner), person_facen(number), ["a", "b"])
            if number % 3 == 0:
                await ctx.faces.del_from_galleries(made, ["a"])
            if number % 5 == 0:
                await ctx.faces.remove_one(ObjectId(owner), {"_id": made["_id"]})
            print(number, flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("after", range(2))
async def test_is_consistent_after_a_kill_at_any_moment(store_settings: StoreArguments, after: int) -> None:
    """kill -9 during additions, removals and snapshots; the doctor finds nothing afterwards."""
    url, database = store_settings.settings.url.get_secret_value(), store_settings.settings.database
    shards = FacensSettings(shards=1 + 2 * (after % 2))
    async with opened(store_settings, load_facens=False) as ctx:
        user = await ctx.users.add({})
    arguments = (url, database, str(store_settings.data_dir), str(user["_id"]), str(shards.shards))
    for lines in (3 + after, 7 + 3 * after):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CHURN, *arguments, stdout=-1, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}
        )
        assert process.stdout is not None
        for _ in range(lines):
            assert await process.stdout.readline()
        await asyncio.sleep(0.003 * after)
        os.kill(process.pid, signal.SIGKILL)
        await process.wait()
    async with opened(store_settings, facens_settings=shards) as ctx:
        await assert_in_step(ctx)
        for document in await ctx.faces.find(user, {"gallery": "b"}):
            (best,) = await ctx.faces.identify(user, "b", document, 1, 0.999)
            assert best.face["facen"] == document["facen"]

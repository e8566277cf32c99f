"""`facend facens rebuild` beside the running daemon: what it does to the storage that is searched."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from daemon.config.settings import Settings
from daemon.events import EventBus
from daemon.plugins.host import Plugins
from daemon.runtime.metrics import Metrics
from daemon.store_session import StoreSession
from daemon.storing import Storing
from daemon.upkeep import Upkeep, rebuild_facens
from store import Context, Face, FacensSettings, FacenStorageError, StoreUnavailableError, User
from store.facens.engine.sharded import ShardedFacens
from store.facens.sync import diff as comparing
from store.facens.sync.reconcile import differences
from store.mongo.term_leases import TermLeases
from store.observer import UnobservedStore
from store.spool.spool import Spool
from tests.facens import SIZE, person_facen, stored
from tests.faces import default_models
from tests.mongo import StoreArguments

PACK = {"facen_size": SIZE, "pack": "opencv-zoo"}
LAYOUTS = pytest.mark.parametrize(
    "layout",
    [FacensSettings(), FacensSettings(shards=3), FacensSettings(precision="half")],
    ids=["one shard", "three shards", "half precision"],
)


async def exchange(ctx: Context, user: User, face: Face, gallery: str, number: int) -> None:
    """The facen storage has another facen of a face than MongoDB, as after missed changes."""
    assert await ctx.facens.remove(user["_id"], gallery, face["_id"])
    await ctx.facens.add(user["_id"], gallery, face["_id"], person_facen(number))


async def finds(ctx: Context, user: User, gallery: str, face: Face) -> bool:
    found = await ctx.faces.identify(user, gallery, face, 1, 0.99)
    return [one.face["_id"] for one in found] == [face["_id"]]


@LAYOUTS
async def test_what_is_searched_is_put_right(
    store_settings: StoreArguments, layout: FacensSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Different, missing, surplus and unusable facens; progress is reported; a second run finds nothing."""
    monkeypatch.setattr(comparing, "BATCH", 7)
    async with store_settings.open(**PACK, facens_settings=layout) as ctx:
        user = await ctx.users.add({})
        faces = [await stored(ctx, user, person_facen(number), ["a", "b"]) for number in range(30)]
        for number in (3, 17):
            await exchange(ctx, user, faces[number], "a", 100 + number)
        await exchange(ctx, user, faces[17], "b", 200)
        await ctx.facens.remove(user["_id"], "b", faces[5]["_id"])
        await ctx.facens.add(user["_id"], "b", 4711, person_facen(300))
        for number, facen in ((8, "no base64"), (9, "AAAAAAAAgD8=")):  # none, and one of two numbers
            await ctx.database["faces"].update_one({"_id": faces[number]["_id"]}, {"$set": {"facen": facen}})
        assert not await finds(ctx, user, "a", faces[3])
        told: list[tuple[int, int]] = []
        proof = await rebuild_facens(ctx, lambda done, of: told.append((done, of)))
        assert (proof.corrected, proof.unusable, proof.galleries, proof.entries) == (2, 2, 2, 56)
        assert (told[0], told[-1]) == ((0, 60), (told[-1][0], 60))
        assert len(told) > 4
        for number in {*range(30)} - {8, 9}:
            assert await finds(ctx, user, "a", faces[number])
            assert await finds(ctx, user, "b", faces[number])
        for number in (103, 117, 200, 300, 8, 9):
            assert not (await ctx.facens.search(user["_id"], "b", person_facen(number), 1, 0.9)).hits
        proof = await rebuild_facens(ctx, lambda *_: None)
        assert (proof.corrected, proof.unusable, proof.entries) == (0, 2, 56)
        assert 36 <= proof.sampled <= 40
    async with store_settings.open(**PACK, facens_settings=layout) as ctx:  # from the snapshot
        assert await finds(ctx, user, "a", faces[3])


@LAYOUTS
async def test_nobody_is_missed_meanwhile(
    store_settings: StoreArguments, layout: FacensSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faces in order are found by every search, and faces come, go and move while they are compared."""
    monkeypatch.setattr(comparing, "BATCH", 5)
    async with store_settings.open(**PACK, facens_settings=layout) as ctx:
        user = await ctx.users.add({})
        faces = [await stored(ctx, user, person_facen(number), ["a"]) for number in range(40)]
        await ctx.galleries.ensure(user, "b")
        for number in range(10):
            await exchange(ctx, user, faces[number], "a", 100 + number)
        ended = asyncio.Event()

        async def run() -> None:
            try:
                await rebuild_facens(ctx, lambda *_: None)
            finally:
                ended.set()

        async with asyncio.timeout(60):
            _, searches, *_ = await asyncio.gather(
                run(),
                search(ctx, user, faces[20:], ended),
                come_and_go(ctx, user, ended),
                *(move(ctx, face, ended) for face in faces[5:15]),
            )
        assert searches > 20
        assert [found async for found in differences(ctx.database, ctx.facens)] == []
        for face in faces:
            assert await finds(ctx, user, "a", face)


async def search(ctx: Context, user: User, faces: list[Face], ended: asyncio.Event) -> int:
    searches = 0
    while not ended.is_set():
        for face in faces:
            assert await finds(ctx, user, "a", face)
            searches += 1
    return searches


async def come_and_go(ctx: Context, user: User, ended: asyncio.Event) -> None:
    while not ended.is_set():
        new = await stored(ctx, user, person_facen(500), ["a", "b"])
        await ctx.faces.remove_one(user, {"_id": new["_id"]})


async def move(ctx: Context, face: Face, ended: asyncio.Event) -> None:
    while not ended.is_set():
        await ctx.faces.add_to_galleries(face, ["b"])
        await ctx.faces.del_from_galleries(face, ["b"])


async def test_a_run_that_was_broken_off_is_begun_again(
    store_settings: StoreArguments, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was put right is so; the rest waits for the next run."""
    monkeypatch.setattr(comparing, "BATCH", 5)
    async with store_settings.open(**PACK) as ctx:
        user = await ctx.users.add({})
        faces = [await stored(ctx, user, person_facen(number), ["a"]) for number in range(20)]
        for number in (2, 18):
            await exchange(ctx, user, faces[number], "a", 100 + number)

        def break_off(done: int, _: int) -> None:
            if done == 10:
                raise asyncio.CancelledError

        with pytest.raises(asyncio.CancelledError):
            await rebuild_facens(ctx, break_off)
        assert [await finds(ctx, user, "a", faces[number]) for number in (2, 18)] == [True, False]
        assert (await rebuild_facens(ctx, lambda *_: None)).corrected == 1


async def test_a_shard_out_of_service_is_named(store_settings: StoreArguments) -> None:
    """Nothing is touched; once it is back, so is the rebuild."""
    async with store_settings.open(**PACK, facens_settings=FacensSettings(shards=3)) as ctx:
        assert isinstance(ctx.facens, ShardedFacens)
        user = await ctx.users.add({})
        await stored(ctx, user, person_facen(1), ["a"])
        ctx.facens.mark_down("shard 2", "a test")
        with pytest.raises(
            FacenStorageError, match=r"shard 2 of the facen storage .* run this again"
        ) as caught:
            await rebuild_facens(ctx, lambda *_: None)
        assert caught.value.shard == "shard 2"
        await ctx.facens_lifecycle.recover_shards()
        assert (await rebuild_facens(ctx, lambda *_: None)).entries == 1


async def test_a_snapshot_that_cannot_be_written_is_told(store_settings: StoreArguments) -> None:
    """The facens are right all the same."""
    async with store_settings.open(**PACK) as ctx:
        (store_settings.data_dir / "facens").write_bytes(b"no folder")
        with pytest.raises(StoreUnavailableError, match="in order, but the snapshot cannot be written"):
            await rebuild_facens(ctx, lambda *_: None)


async def test_one_at_a_time_works_on_the_store(ctx: Context, tmp_path: Path) -> None:
    """While a check looks, a rebuild is refused and says who was first."""
    spool = Spool(tmp_path / "spool", 1_000_000, UnobservedStore())
    metrics = Metrics(version="1", pack="opencv-zoo", runtime="onnxruntime")
    settings = Settings(data_dir=tmp_path)
    storing = Storing(settings, default_models(), spool, metrics, EventBus(), Plugins(settings.plugins))
    upkeep = Upkeep(settings, default_models(), spool, storing)
    with pytest.raises(StoreUnavailableError, match="being opened"):
        await upkeep.rebuild_facens(lambda *_: None)
    user = await ctx.users.add({})
    leases = TermLeases(ctx.database, "camera", user["_id"], "box")
    storing.session = StoreSession(ctx, user, leases, "")  # as if it had started
    await ctx.facens.add(user["_id"], "a", 4711, person_facen(1))
    check = upkeep.findings(repair=False, grace=timedelta(0))
    await anext(check)
    with pytest.raises(StoreUnavailableError, match="`facend doctor` is running"):
        await upkeep.rebuild_facens(lambda *_: None)
    await check.aclose()
    assert (await upkeep.rebuild_facens(lambda *_: None)).entries == 0

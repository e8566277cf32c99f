"""The contract of `FacenStorage`, for all engines."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest
from bson import ObjectId
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from daemon.cli.main import facend
from daemon.runtime import data_folder
from pipeline.faces.facen import confidence
from store import Context, FacensSettings, User
from store.errors import (
    BadValueError,
    FacenExistsError,
    FacenStorageError,
    PackError,
    StoreError,
    StoreUnavailableError,
)
from store.facens import FacenStorage, LocalFacens
from store.facens.engine.sharded import ShardedFacens
from store.facens.milvus import storage as milvus_module
from store.facens.milvus.partitions import gallery_of, partition_of
from store.facens.milvus.storage import MilvusFacens
from store.facens.sync.load import load_facens
from store.facens.sync.migrate import migrate_facens, verify_equal
from tests.daemon_process import write_settings
from tests.facens import like, person_facen, stored
from tests.faces import models_dir
from tests.integration.daemon.cli.test_store import Box
from tests.milvus import MilvusServer, drop_galleries
from tests.mongo import StoreArguments


def three_shards() -> FacenStorage:
    names = [f"shard {number}" for number in range(3)]
    return ShardedFacens([LocalFacens(name=name) for name in names], names)


ENGINES: dict[str, Callable[[], FacenStorage]] = {"local": LocalFacens, "three shards": three_shards}
A, B = ObjectId(), ObjectId()


@pytest.fixture(params=[*ENGINES, "milvus"])
async def storage(request: pytest.FixtureRequest) -> AsyncIterator[FacenStorage]:
    if request.param == "milvus":
        server = request.getfixturevalue("milvus")
        engine = await MilvusFacens.connect(FacensSettings(url=SecretStr(server.url)))
    else:
        engine = ENGINES[request.param]()
    yield engine
    if isinstance(engine, MilvusFacens):
        for owner in (A, B):
            await drop_galleries(engine, owner)
    await engine.close()


async def test_returns_the_nearest_best_first(storage: FacenStorage) -> None:
    """Ids and confidences in descending order, down to the threshold and up to the limit."""
    face = person_facen(0)
    for number, cosine in enumerate([0.2, 0.9, 0.5, 0.7]):
        await storage.add(A, "g", number, like(face, cosine, number))
    found = await storage.search(A, "g", face, 3, confidence(0.45))
    assert [hit.id for hit in found.hits] == [1, 3, 2]
    assert [hit.confidence for hit in found.hits] == pytest.approx([0.95, 0.85, 0.75], abs=1e-5)
    assert found.live_servers == found.total_servers == len(await storage.health())
    assert [hit.id for hit in (await storage.search(A, "g", face, 1, 0.0)).hits] == [1]


async def test_a_facen_finds_itself_at_the_threshold_of_one(storage: FacenStorage) -> None:
    """Despite rounding, and no confidence exceeds 1."""
    await storage.add_many(A, "g", [(number, person_facen(number)) for number in range(200)])
    for number in range(200):
        (hit,) = (await storage.search(A, "g", person_facen(number), 5, 1.0)).hits
        assert hit.id == number
        assert hit.confidence <= 1.0


async def test_equal_facens_are_ordered_by_id(storage: FacenStorage) -> None:
    """Also if more are equal than the limit."""
    for number in (5, 3, 9, 1, 7):
        await storage.add(A, "g", number, person_facen(0))
    found = await storage.search(A, "g", person_facen(0), 3, 0.5)
    assert [hit.id for hit in found.hits] == [1, 3, 5]


async def test_galleries_and_owners_are_separate(storage: FacenStorage) -> None:
    """The same id and gallery name of another owner is another entry."""
    await storage.add(A, "g", 1, person_facen(1))
    await storage.add(A, "h", 2, person_facen(1))
    await storage.add(B, "g", 3, person_facen(1))
    assert [hit.id for hit in (await storage.search(A, "g", person_facen(1), 9, 0.9)).hits] == [1]
    assert set(await storage.galleries()) == {(A, "g"), (A, "h"), (B, "g")}
    assert await storage.galleries(B) == [(B, "g")]
    await storage.drop(A, "g")
    await storage.drop(A, "g")
    assert (await storage.count(A, "g"), await storage.count(A, "h"), await storage.count(B, "g")) == (
        0,
        1,
        1,
    )


async def test_adding_twice_is_an_error_and_removing_twice_is_not(storage: FacenStorage) -> None:
    """As the context promises for galleries."""
    await storage.add(A, "g", 1, person_facen(1))
    with pytest.raises(FacenExistsError):
        await storage.add(A, "g", 1, person_facen(2))
    assert await storage.count(A, "g") == 1
    assert await storage.remove(A, "g", 1)
    assert not await storage.remove(A, "g", 1)
    assert not await storage.remove(A, "nowhere", 1)


async def test_a_search_with_allowed_ids_is_complete(storage: FacenStorage) -> None:
    """The best allowed ones are found, whatever their rank among all."""
    face = person_facen(0)
    await storage.add_many(
        A, "g", [(number, like(face, 0.95 - number / 100, number)) for number in range(50)]
    )
    found = await storage.search(A, "g", face, 2, 0.0, allowed=[45, 40, 49, 999])
    assert [hit.id for hit in found.hits] == [40, 45]
    assert (await storage.search(A, "g", face, 2, 0.0, allowed=[])).hits == []


async def test_batch_methods_equal_single_calls(storage: FacenStorage) -> None:
    """add_many skips existing ids; search_many returns the results of search."""
    people = [(number, person_facen(number)) for number in range(20)]
    await storage.add(A, "g", 3, person_facen(3))
    assert await storage.add_many(A, "g", people) == 19
    questions = [like(person_facen(number), 0.8, number) for number in range(5)]
    together = await storage.search_many(A, "g", questions, 4, 0.3)
    for question, found in zip(questions, together, strict=True):
        alone = await storage.search(A, "g", question, 4, 0.3)
        assert [hit.id for hit in found.hits] == [hit.id for hit in alone.hits]
    assert await storage.ids(A, "g") == list(range(20))
    health = await storage.health()
    assert all(shard.live for shard in health)
    assert sum(shard.facens for shard in health) == 20


async def test_compare_distinguishes_equal_and_other_facens(storage: FacenStorage) -> None:
    """Missing entries count as neither."""
    await storage.add_many(A, "g", [(number, person_facen(number)) for number in range(600)])
    right = [(number, person_facen(number)) for number in range(590, 620)]
    assert await storage.compare(A, "g", right) == (10, [])
    wrong = [(5, like(person_facen(5), 0.999)), (300, person_facen(301)), (7, person_facen(7, 512))]
    entries = [(number, person_facen(number)) for number in range(600) if number not in dict(wrong)]
    assert await storage.compare(A, "g", [*wrong, *entries, (999, person_facen(9))]) == (597, [5, 7, 300])
    await storage.remove(A, "g", 5)
    await storage.add(A, "g", 5, like(person_facen(5), 0.999))
    assert await storage.compare(A, "g", wrong) == (1, [7, 300])
    assert await storage.compare(A, "nowhere", entries) == await storage.compare(A, "g", []) == (0, [])


async def test_facens_of_another_size_are_refused(storage: FacenStorage) -> None:
    """Facens of different models are never compared."""
    await storage.add(A, "g", 1, person_facen(1))
    for wrong in (person_facen(1, 512), np.full(128, np.nan, np.float32), np.zeros((1, 128), np.float32)):
        with pytest.raises(BadValueError):
            await storage.add(A, "g", 2, wrong)
        with pytest.raises(BadValueError):
            await storage.search(A, "g", wrong, 1, 0.5)
    assert await storage.count(A, "g") == 1


async def test_an_unreachable_milvus_is_a_named_error(milvus: MilvusServer, milvus_owner: ObjectId) -> None:
    """Within the timeout; a search that ignores errors reports no live server; afterwards it recovers."""
    settings = FacensSettings(url=SecretStr(milvus.url), timeout_seconds=1)
    storage = await MilvusFacens.connect(settings, 128, "a pack")
    await storage.add(milvus_owner, "g", 1, person_facen(1))
    milvus.freeze(True)
    try:
        since = time.monotonic()
        with pytest.raises(FacenStorageError, match=r"127\.0\.0\.1") as caught:
            await storage.search(milvus_owner, "g", person_facen(1), 1, 0.9)
        assert caught.value.shard in milvus.url
        assert time.monotonic() - since < 4
        found = await storage.search(milvus_owner, "g", person_facen(1), 1, 0.9, ignore_errors=True)
        assert (found.hits, found.live_servers, found.total_servers) == ([], 0, 1)
        assert [shard.live for shard in await storage.health()] == [False]
        with pytest.raises(StoreUnavailableError, match=r"facens\.url"):
            await MilvusFacens.connect(settings)
    finally:
        milvus.freeze(False)
    async with asyncio.timeout(30):
        while not (await storage.health())[0].live:  # noqa: ASYNC110  the server gives no sign of its own
            await asyncio.sleep(0.2)
    assert [hit.id for hit in (await storage.search(milvus_owner, "g", person_facen(1), 1, 0.9)).hits] == [1]
    await storage.close()


async def test_milvus_knows_its_pack_and_what_others_stored(
    milvus: MilvusServer, milvus_owner: ObjectId, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another pack is refused; a second connection sees galleries created and dropped by the first."""
    settings = FacensSettings(url=SecretStr(milvus.url), consistency="strong")
    one, two = [await MilvusFacens.connect(settings, 128, "a pack") for _ in range(2)]
    monkeypatch.setattr(milvus_module, "ID_PAGE", 3)
    await one.add_many(milvus_owner, "cam_a-b", [(number, person_facen(number)) for number in range(10)])
    for wrong in ((128, "another pack"), (512, "a pack")):
        with pytest.raises(PackError, match="rebuild"):
            await MilvusFacens.connect(settings, *wrong)
    assert await two.ids(milvus_owner, "cam_a-b") == list(range(10))
    assert await two.galleries(milvus_owner) == [(milvus_owner, "cam_a-b")]
    found = await two.search(milvus_owner, "cam_a-b", person_facen(4), 1, 0.9)
    assert [hit.id for hit in found.hits] == [4]
    await two.drop(milvus_owner, "cam_a-b")
    assert (await one.search(milvus_owner, "cam_a-b", person_facen(4), 1, 0.9)).hits == []
    await one.add(milvus_owner, "cam_a-b", 4, person_facen(4))
    assert await two.ids(milvus_owner, "cam_a-b") == [4]
    for storage in (one, two):
        await storage.close()


@given(st.text("ab_-m", min_size=1, max_size=12))
def test_gallery_names_are_escaped_in_milvus(name: str) -> None:
    """Partitions consist of letters, digits and underscores, and map back to the gallery's name."""
    partition = partition_of(name)
    assert partition.replace("_", "").isalnum()
    assert gallery_of(partition) == name
    assert gallery_of("_default") is None


async def test_an_interrupted_migration_can_be_continued(
    ctx: Context, milvus_settings: FacensSettings
) -> None:
    """From local to Milvus, while faces change; a second run adds only missing ones, and both are equal."""
    user = await ctx.users.add({})
    target = await MilvusFacens.connect(milvus_settings, 128)
    try:
        faces = [await stored(ctx, user, person_facen(number), ["a", "b"]) for number in range(12)]
        half = {"_id": {"$in": [one["_id"] for one in faces[:5]]}}
        await load_facens(ctx.database["faces"], target, half)  # as far as a broken run got
        await target.add(user["_id"], "b", 4711, person_facen(0))  # and what was removed since
        await target.remove(user["_id"], "a", faces[1]["_id"])
        await target.add(user["_id"], "a", faces[1]["_id"], person_facen(50))  # added anew since
        counted: list[int] = []

        async def go_on() -> None:
            for number in range(100, 106):
                await stored(ctx, user, person_facen(number), ["a"])
            await ctx.faces.remove_one(user, {"_id": faces[6]["_id"]})

        proof, _ = await asyncio.gather(migrate_facens(ctx.database, target, counted.append), go_on())
        assert proof.corrected == 1
        assert counted[0] == 10  # what was there
        proof = await migrate_facens(ctx.database, target)
        assert (proof.galleries, proof.entries, proof.sampled, proof.corrected) == (2, 28, 28, 0)
        for gallery in ("a", "b"):
            assert await target.ids(user["_id"], gallery) == await ctx.facens.ids(user["_id"], gallery)
        await target.remove(user["_id"], "a", faces[0]["_id"])
        with pytest.raises(StoreError, match="1 facens are missing"):
            await verify_equal(ctx.database, target)
    finally:
        await drop_galleries(target, user["_id"])
        await target.close()


def test_the_command_migrates_to_milvus_and_back(
    store_settings: StoreArguments, milvus: MilvusServer, tmp_path: Path
) -> None:
    """Beside a daemon on the data folder; a second run changes nothing; the way back writes a snapshot."""
    settings = store_settings.settings
    store = {"url": settings.url.get_secret_value(), "database": settings.database}
    common = {"store": store, "models": {"folder": str(models_dir())}}
    box = Box(store_settings, write_settings(tmp_path, [], **common))
    box.make_own_user()
    owners: list[ObjectId] = []

    async def two_galleries(ctx: Context, user: User) -> None:
        owners.append(user["_id"])
        for number in range(3):
            await stored(ctx, user, person_facen(number), ["a", "b"])

    async def clean() -> None:
        there = await MilvusFacens.connect(FacensSettings(url=SecretStr(milvus.url)))
        await drop_galleries(there, owners[0])
        await there.close()

    box.store(two_galleries)
    try:
        with data_folder.held(box.data_dir):
            for _ in range(2):
                moved = box.json("facens", "migrate", "--to", milvus.url)
                assert (moved["galleries"], moved["entries"], moved["sampled"]) == (2, 6, 6)
        box.settings = write_settings(tmp_path, [], facens={"url": milvus.url}, **common)
        told = box.json("facens", "stats")
        assert [(one["gallery"], one["faces"], one["facens"]) for one in told["galleries"]] == [
            ("a", 3, 3),
            ("b", 3, 3),
        ]
        assert told["shards"][0]["live"]
        assert box.json("facens", "migrate", "--to", "local")["entries"] == 6
        (snapshot,) = box.json("facens", "stats")["snapshots"]
        assert (snapshot["galleries"], snapshot["facens"]) == (2, 6)
    finally:
        asyncio.run(clean())


def test_the_benchmark_compares_milvus_with_local(milvus: MilvusServer) -> None:
    """In one run, with the recall of the server's graph."""
    options = ["--size", "2000", "--kind", "clustered", "--galleries", "0", "--index", "hnsw"]
    result = CliRunner().invoke(
        facend, ["bench", "facens", *options, "--milvus", milvus.url, "--json"], catch_exceptions=False
    )
    rows = {row["figure"]: row for row in json.loads(result.stdout)}
    assert rows["server: search vs. local"]["baseline"] > 0
    assert rows["server: recall@1 vs. exact"]["value"] > 0.9
    assert rows["no ghosts after removals and additions"]["value"] == 1

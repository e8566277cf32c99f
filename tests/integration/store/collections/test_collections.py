"""Galleries, cameras, counters and older documents."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from store import (
    BadFilterError,
    BadValueError,
    ConflictError,
    Context,
    CounterMissingError,
    Gallery,
    GalleryError,
    StoreSettings,
    StoreUnavailableError,
    User,
)
from store.mongo.documents import SCHEMA
from store.mongo.migrations import migrated
from tests.facens import person_facen, stored
from tests.mongo import StoreArguments


async def test_a_gallery_is_created_once(ctx: Context, user: User) -> None:
    """A second one of the same name is a ValueError for the same owner only; `ensure` accepts it."""
    made = await ctx.galleries.add(user, "vip")
    assert isinstance(made, Gallery)
    assert (made["owner"], made["name"]) == (user["_id"], "vip")
    with pytest.raises(ValueError, match="vip"):
        await ctx.galleries.add(user, "vip")
    await ctx.galleries.add(await ctx.users.add({}), "vip")
    assert await ctx.galleries.ensure(user, "vip") == made
    together = await asyncio.gather(*(ctx.galleries.ensure(user, "new") for _ in range(20)))
    assert len({one["_id"] for one in together}) == 1


@pytest.mark.parametrize("name", ["", None, 5, "a b", "ä", "a\n", "a/b", "a" * 49, "a\0", ["a"]])
async def test_gallery_names_are_plain(ctx: Context, user: User, name: Any) -> None:
    """Anything but 1 to 48 of A-Z a-z 0-9 _ - is a ValueError."""
    with pytest.raises(ValueError, match="48"):
        await ctx.galleries.add(user, name)
    assert await ctx.galleries.count(user, None) == 0


async def test_faces_of_a_removed_gallery_are_kept(ctx: Context, user: User) -> None:
    """They stay in their other galleries; adding to the removed one is an error."""
    made = await stored(ctx, user, person_facen(1), ["default", "vip"])
    await ctx.galleries.remove_one(user, {"name": "vip"})
    found = await ctx.faces.find_one(user, None)
    assert found is not None
    assert found.galleries == ["default"]
    assert await ctx.facens.count(user["_id"], "vip") == 0
    with pytest.raises(LookupError):
        await ctx.faces.add_to_galleries(made, ["vip"])
    with pytest.raises(GalleryError):
        await ctx.galleries.remove_one(user, {"name": "default"})
    with pytest.raises(BadFilterError):
        await ctx.galleries.update_one(user, {"name": "default"}, {"$set": {"name": "other"}})


async def test_a_camera_is_added_once(ctx: Context, user: User) -> None:
    """Its id is unique for the owner, and generated if missing."""
    camera = await ctx.cameras.add(user, {"id": "door", "url": "rtsp://10.0.0.5/1", "meta": {"floor": 2}})
    assert await ctx.cameras.find_one(user, {"id": "door"}) == camera
    with pytest.raises(ConflictError, match="door"):
        await ctx.cameras.add(user, {"id": "door"})
    await ctx.cameras.add(await ctx.users.add({}), {"id": "door"})
    assert (await ctx.cameras.add(user, {}))["id"]


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        {"id": ""},
        {"id": "a b"},
        {"id": 5},
        {"url": 5},
        {"$set": 1},
        {"url": "rtsp://me:geheim@h/1"},
        {"password": "geheim"},
    ],
)
async def test_bad_cameras_are_refused(ctx: Context, user: User, wrong: Any) -> None:
    """Including passwords, which never appear in a document or message."""
    with pytest.raises(BadValueError) as caught:
        await ctx.cameras.add(user, wrong)
    assert "geheim" not in str(caught.value)
    assert await ctx.cameras.count(user, None) == 0


async def test_an_update_cannot_store_a_password(ctx: Context, user: User) -> None:
    """Neither as a field nor inside the URL."""
    await ctx.cameras.add(user, {"id": "door"})
    for change in ({"url": "rtsp://me:geheim@h/1"}, {"password": "geheim"}):
        with pytest.raises(BadValueError):
            await ctx.cameras.update_one(user, {"id": "door"}, {"$set": change})


async def test_a_counter_returns_each_number_once(ctx: Context) -> None:
    """Two hundred concurrent calls return two hundred consecutive numbers."""
    await ctx.counters.ensure("tickets", 100)
    await ctx.counters.ensure("tickets", 5)
    numbers = await asyncio.gather(*(ctx.counters.next("tickets") for _ in range(200)))
    assert sorted(numbers) == list(range(101, 301))


async def test_a_counter_is_raised_but_never_lowered(ctx: Context) -> None:
    """Skipping numbers in use never repeats earlier ones."""
    await ctx.counters.ensure("tickets", 100)
    await ctx.counters.raise_to("tickets", 5)
    assert await ctx.counters.next("tickets") == 101
    await ctx.counters.raise_to("tickets", 200)
    assert await ctx.counters.next("tickets") == 201


async def test_counters_fail_as_documented(ctx: Context) -> None:
    """An unknown counter is a TypeError, one without an integer a ValueError; neither is changed."""
    with pytest.raises(TypeError):
        await ctx.counters.next("unknown")
    with pytest.raises(CounterMissingError):
        await ctx.counters.next(None)  # type: ignore[arg-type]  # as a caller without types may
    for number, seq in enumerate(["7", 1.5, None, True, 2**63 - 1]):
        await ctx.counters._collection.insert_one({"_id": f"odd{number}", "seq": seq})
        with pytest.raises(ValueError, match="whole number"):
            await ctx.counters.next(f"odd{number}")


async def test_migrates_older_documents(store_settings: StoreArguments) -> None:
    """When the context has opened, a face of version 0 has a list of galleries and the present version."""
    async with store_settings.open() as ctx:
        user = await ctx.users.add({})
        faces = ctx.faces._collection
        await faces.insert_many(
            [{"_id": number, "owner": user["_id"], "galleries": ["default"]} for number in range(1200)]
        )
        await faces.insert_one({"_id": 5000, "owner": user["_id"]})
    async with store_settings.open() as ctx:
        assert await ctx.faces.count(user, {"schema": SCHEMA, "gallery": ["default"]}) == 1200
        bare = await ctx.faces.find_one(user, {"_id": 5000})
        assert bare is not None
        assert bare["gallery"] == []
        stored = ctx.faces._collection
        assert await stored.count_documents({"galleries": {"$exists": True}}) == 0


def test_migration_is_idempotent() -> None:
    """A migrated document is not changed again."""
    old = {"_id": 1, "galleries": ["a"]}
    new = migrated("faces", old)
    assert new == {"_id": 1, "gallery": ["a"], "schema": SCHEMA}
    assert migrated("faces", new) == new
    assert old == {"_id": 1, "galleries": ["a"]}


async def test_a_server_that_does_not_answer_is_one_clear_error(tmp_path: Path) -> None:
    """Within the timeout, without the password in the message."""
    settings = StoreSettings(url=SecretStr("mongodb://me:geheim@127.0.0.1:9/"), connect_timeout_seconds=0.5)
    with pytest.raises(StoreUnavailableError, match=r"127\.0\.0\.1:9/ did not answer") as caught:
        async with Context.open(settings, data_dir=tmp_path):
            pass
    assert "geheim" not in str(caught.value)

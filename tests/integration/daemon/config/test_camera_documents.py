"""Cameras that are added through the context of a daemon or a command."""

import asyncio
from typing import Any

import pytest

from daemon.config.camera_documents import check_document
from store import BadValueError
from tests.mongo import StoreArguments


@pytest.mark.parametrize(
    ("camera", "message"),
    [
        ({}, "url: missing"),
        ({"url": "gopher://h/x"}, "scheme"),
        ({"url": "rtsp://"}, "no host"),
        ({"url": "rtsp://h:99999/x"}, "port"),
        ({"url": "rtsp://h/x", "max_fps": 0}, "max_fps"),
        ({"url": "rtsp://h/x", "enabled": "perhaps"}, "enabled"),
        ({"url": "rtsp://h/x", "meta": {"a": [1]}}, "meta"),
        ({"url": "rtsp://h/x", "roi": [[0, 0, 0, 0]]}, "roi"),
        ({"url": "rtsp://h/x", "posting": "often"}, "posting"),
    ],
)
async def test_add_refuses_what_the_daemon_would_refuse(
    store_settings: StoreArguments, camera: dict[str, Any], message: str
) -> None:
    """So do an upsert that would make it and an update that would make another camera such a one."""
    async with store_settings.open(check_camera=check_document) as ctx:
        user = await ctx.users.add({})
        cameras = ctx.cameras
        with pytest.raises(BadValueError, match=message):
            await cameras.add(user, camera)
        with pytest.raises(BadValueError, match=message):
            await cameras.update_one(user, {"id": "hall"}, {"note": 1, **camera}, upsert=True)
        await cameras.add(user, {"id": "door", "url": "rtsp://h/x"})
        if camera:
            with pytest.raises(BadValueError, match=message):
                await cameras.update_many(user, {"id": "door"}, camera)
        (stored,) = await cameras.find(user, None)
        assert {key: stored[key] for key in ("id", "url")} == {"id": "door", "url": "rtsp://h/x"}
        assert not {"max_fps", "meta", "roi", "posting"} & set(stored)


async def test_fields_of_the_users_own_are_data(store_settings: StoreArguments) -> None:
    """What the daemon does not know it does not judge."""
    async with store_settings.open(check_camera=check_document) as ctx:
        user = await ctx.users.add({})
        camera = await ctx.cameras.add(user, {"url": "rtsp://h/x", "group": ["lobby"], "floor": 2})
        changed = await ctx.cameras.update_one(user, {"id": camera["id"]}, {"floor": 3, "max_fps": 5})
        assert changed is not None and (changed["group"], changed["floor"]) == (["lobby"], 3)


@pytest.mark.parametrize(
    ("update", "message"),
    [
        ({"$unset": {"url": ""}}, "url: missing"),
        ({"$inc": {"max_fps": 1000}}, r"not by \$inc"),
        ({"$mul": {"max_fps": -1}}, r"not by \$mul"),
        ({"$min": {"max_fps": -1}}, r"not by \$min"),
        ({"$max": {"max_fps": 1e9}}, r"not by \$max"),
        ({"$rename": {"note": "roi"}}, r"not by \$rename"),
        ({"$currentDate": {"max_fps": True}}, r"not by \$currentDate"),
        ({"$push": {"roi": 5}}, r"not by \$push"),
        ({"$pop": {"roi": 1}}, r"not by \$pop"),
        ({"$bit": {"max_fps": {"xor": 5}}}, r"not by \$bit"),
        ({"$set": {"roi.0": "x"}}, "roi of a camera is changed whole"),
        ({"$unset": {"roi.0": ""}}, "roi of a camera is changed whole"),
        ({"$set": {"url": "gopher://h/x"}}, "scheme"),
        ({"$set": {"max_fps": 0}, "$unset": {"note": ""}}, "max_fps"),
        ({"roi": [[0, 0, 0, 0]]}, "roi"),
    ],
)
async def test_no_update_makes_a_camera_that_the_daemon_would_refuse(
    store_settings: StoreArguments, update: dict[str, Any], message: str
) -> None:
    """Whichever operator it uses, for one camera and for many; nothing is changed."""
    async with store_settings.open(check_camera=check_document) as ctx:
        user = await ctx.users.add({})
        roi = [[0.1, 0.1, 0.5, 0.5]]
        await ctx.cameras.add(user, {"id": "door", "url": "rtsp://h/x", "max_fps": 5, "roi": roi, "note": 1})
        before = await ctx.cameras.find(user, None)
        for change in (ctx.cameras.update_one, ctx.cameras.update_many):
            with pytest.raises(BadValueError, match=message):
                await change(user, {"id": "door"}, update)
        assert await ctx.cameras.find(user, None) == before


async def test_an_unusable_camera_can_be_mended_and_disabled(store_settings: StoreArguments) -> None:
    """An update that adds no fault passes; one that adds another fault does not."""
    async with store_settings.open(check_camera=check_document) as ctx:
        user = await ctx.users.add({})
        await ctx.cameras.add(user, {"id": "door", "url": "rtsp://h/x"})
        await ctx.database["cameras"].update_one({}, {"$set": {"max_fps": 0}})
        assert await ctx.cameras.update_one(user, {"id": "door"}, {"enabled": False})
        with pytest.raises(BadValueError):
            await ctx.cameras.update_one(user, {"id": "door"}, {"url": "gopher://h"})
        mended = await ctx.cameras.update_one(user, {"id": "door"}, {"$unset": {"max_fps": ""}})
        assert mended is not None and "max_fps" not in mended and mended["enabled"] is False


async def test_updates_at_once_are_all_made(store_settings: StoreArguments) -> None:
    """Each is checked against the camera that it changes."""
    async with store_settings.open(check_camera=check_document) as ctx:
        user = await ctx.users.add({})
        await ctx.cameras.add(user, {"id": "door", "url": "rtsp://h/x"})
        changes = [ctx.cameras.update_one(user, {"id": "door"}, {f"note{n}": n}) for n in range(4)]
        await asyncio.gather(*changes)
        (camera,) = await ctx.cameras.find(user, None)
        assert [camera[f"note{n}"] for n in range(4)] == [0, 1, 2, 3]

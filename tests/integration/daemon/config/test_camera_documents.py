"""Cameras that are added through the context of a daemon or a command."""

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

"""The reserve of the pictures' disk holds by itself, on a real small disk."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from daemon.config.settings import Settings
from daemon.runtime.disk_reserve import DiskReserve
from daemon.runtime.disk_space import DiskSpace
from store.collections.users import User
from store.context import Context
from store.settings import ENROLLED_GALLERY
from store.spool.spool import Spool
from store.upkeep.limits import Limits
from store.uploads.folder import FolderUploads
from tests.integration.store.recorders import recording
from tests.mongo import StoreArguments
from tests.sightings import sighting
from tests.small_disk import small_disk
from tests.store_checks import picture_path

MEBIBYTE = 1024 * 1024
PERSONS = 6


def reserve_of(folder: Path, min_free_bytes: int, ctx: Context, user: User) -> DiskReserve:
    settings = Settings.model_validate(
        {"data_dir": folder.parent, "uploads": {"folder": folder, "min_free_bytes": min_free_bytes}}
    )
    return DiskReserve(settings.disk_folders, Limits(ctx, user).free)


async def test_the_oldest_pictures_make_room(store_settings: StoreArguments, tmp_path: Path) -> None:
    """Their faces stay, enrolled people keep theirs, and the log says what happened."""
    with small_disk(tmp_path / "disk", 16) as disk:
        async with store_settings.open(uploads=FolderUploads(disk)) as ctx:
            user = await ctx.users.add({})
            spool = Spool(tmp_path / "spool", 64 * MEBIBYTE, ctx.faces._observer)
            now = datetime.now(UTC)
            for number in range(PERSONS):
                spool.put(sighting(number, captured_at=now - timedelta(days=PERSONS - number)))
            async with recording(ctx, user, spool) as running:
                await asyncio.wait_for(running.recorder.drained(), 30)
            faces = await ctx.faces.find(user, None, sort=[("timestamp", 1)])
            await ctx.galleries.ensure(user, ENROLLED_GALLERY)
            await ctx.faces.add_to_galleries(faces[0], [ENROLLED_GALLERY])
            used = sum(picture_path(faces[1][field]).stat().st_size for field in ("photo", "normalized"))
            (disk / "other").write_bytes(bytes(DiskSpace.read(disk).free - 4 * used))
            wanted = DiskSpace.read(disk).free + used

            reserve = reserve_of(disk, wanted, ctx, user)
            with structlog.testing.capture_logs() as lines:
                await reserve.check()

            assert DiskSpace.read(disk).free >= wanted
            left = await ctx.faces.find(user, None, sort=[("timestamp", 1)])
            assert len(left) == PERSONS
            assert "photo" in left[0], "an enrolled face keeps its pictures"
            assert "photo" not in left[1]
            assert "photo" in left[-1], "the newest stay"
            assert any("removed the oldest pictures" in line["event"] for line in lines)
            (row,) = [row for row in reserve.status() if row.folder == str(disk)]
            assert row.free_bytes >= row.reserve_bytes == wanted

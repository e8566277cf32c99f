"""Free space on the disks of data and pictures: a reserve that pictures leave free, and early warnings."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from daemon.config.settings import Settings
from store import StoreError

log = structlog.get_logger(__name__)

CHECK_SECONDS = 10.0
WARN_USED = 0.8
"""Share of a disk in use from which on log, status and doctor warn."""
WARNING_ENDS = 0.78
"""A warning ends below this share, so that it does not come and go."""

RESERVE_SHARE = 0.05
LEAST_RESERVE = 10**9
MOST_OF_A_SMALL_DISK = 0.2
"""On a disk of less than 5 GB the least reserve would leave too little for pictures."""
HEADROOM = 0.1
"""Removing pictures frees this share of the reserve beyond it, so that it does not begin anew at once."""
GIGABYTE = 10**9


def nearest(folder: Path) -> Path:
    """The folder, or its nearest parent that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


@dataclass(frozen=True, slots=True)
class DiskSpace:
    """One disk at one moment, in bytes."""

    total: int
    free: int
    """What this process may still write; on most file systems less than what root could."""

    @classmethod
    def of(cls, folder: Path) -> "DiskSpace":
        """The disk of the folder, or of its nearest parent that exists. Raises OSError."""
        usage = shutil.disk_usage(nearest(folder))
        return cls(usage.used + usage.free, usage.free)

    @property
    def used_share(self) -> float:
        return 1 - self.free / self.total if self.total else 1.0

    def reserve(self, min_free_bytes: int | None) -> int:
        """Bytes that pictures must leave free: as set, else 5 % and at least 1 GB."""
        if min_free_bytes is not None:
            return min(min_free_bytes, self.total)
        usual = max(RESERVE_SHARE * self.total, LEAST_RESERVE)
        return int(min(usual, MOST_OF_A_SMALL_DISK * self.total))


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk that the daemon writes to, as of the last check."""

    folder: Path
    """What lies on it."""
    holds_pictures: bool
    space: DiskSpace
    reserve: int
    """Bytes that pictures must leave free; 0 where there are none."""

    @property
    def is_short(self) -> bool:
        """The reserve is in use."""
        return self.space.free < self.reserve

    def warning(self) -> str:
        """What is wrong with its free space, or the empty string."""
        free, used = self.space.free / GIGABYTE, self.space.used_share
        text = f"the disk of {self.folder} is {used:.0%} full, {free:.1f} GB are free"
        if self.is_short:
            return (
                f"{text}, less than the reserve of {self.reserve / GIGABYTE:.1f} GB (uploads.min_free_bytes)"
            )
        return text if used >= WARN_USED else ""

    def status(self, text: str) -> Mapping[str, Any]:
        """As JSON, with the warning that is in effect."""
        space = {
            "total_bytes": self.space.total,
            "free_bytes": self.space.free,
            "reserve_bytes": self.reserve,
        }
        return {"folder": str(self.folder), **space, "warning": text}


def disks(settings: Settings) -> list[Disk]:
    """The disk of the data folder, and that of the pictures where it is another one. Raises OSError."""
    pictures, data = settings.pictures_folder, settings.data_dir
    found = []
    if pictures is not None:
        space = DiskSpace.of(pictures)
        found.append(Disk(pictures, True, space, space.reserve(settings.uploads.min_free_bytes)))
    if pictures is None or _device(pictures) != _device(data):
        found.append(Disk(data, False, DiskSpace.of(data), 0))
    return found


class DiskReserve:
    """Keeps the reserve free by removing the oldest pictures, and warns about the daemon's disks."""

    def __init__(self, settings: Settings, make_room: Callable[[int], Awaitable[int]]) -> None:
        """`make_room` removes the oldest pictures until so many bytes are freed; returns how many it freed.

        StoreError where the store is away.
        """
        self._settings = settings
        self._make_room = make_room
        self._warnings: dict[Path, str] = {}
        self._disks: list[Disk] = []

    @property
    def trouble(self) -> str:
        """What is wrong with the disks at present, or the empty string."""
        return "; ".join(filter(None, self._warnings.values()))

    def status(self) -> list[Mapping[str, Any]]:
        """Each disk as of the last check."""
        return [disk.status(self._warnings.get(disk.folder, "")) for disk in self._disks]

    def free_bytes(self) -> dict[str, float]:
        """Free bytes by folder."""
        return {str(disk.folder): disk.space.free for disk in self._disks}

    def reserve_bytes(self) -> dict[str, float]:
        """The reserve in bytes, by folder."""
        return {str(disk.folder): disk.reserve for disk in self._disks if disk.holds_pictures}

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            await self.check()
            await asyncio.sleep(CHECK_SECONDS)

    async def check(self) -> None:
        """Look at the disks once, and remove pictures where the reserve is in use."""
        if short := [disk for disk in await self._read() if disk.is_short]:
            await self._free(short[0])
            await self._read()
        for disk in self._disks:
            self._report(disk)

    async def _read(self) -> list[Disk]:
        try:
            self._disks = await asyncio.to_thread(disks, self._settings)
        except OSError as error:  # a folder that is gone is the trouble of those who write to it
            log.debug("the disks' free space cannot be read", reason=str(error))
            self._disks = []
        return self._disks

    async def _free(self, disk: Disk) -> None:
        wanted = int(disk.reserve * (1 + HEADROOM)) - disk.space.free
        try:
            freed = await self._make_room(wanted)
        except StoreError as error:
            log.debug("no pictures can be removed at present", reason=str(error))
            return
        if freed:
            log.info("the oldest pictures were removed to keep the disk's reserve free", freed_bytes=freed)

    def _report(self, disk: Disk) -> None:
        before, text = self._warnings.get(disk.folder, ""), disk.warning()
        if text and (not before or disk.is_short != ("reserve" in before)):
            log.warning("a disk is getting full", detail=text)
        elif before and not text:
            if disk.space.used_share >= WARNING_ENDS:
                return
            log.info("a disk has room again", folder=str(disk.folder), free_bytes=disk.space.free)
        self._warnings[disk.folder] = text


def _device(folder: Path) -> int:
    return nearest(folder).stat().st_dev

"""Removes the oldest pictures to keep the reserve of their disk free, and warns about full disks."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from daemon.runtime.disk_space import Disk, DiskFolders, read_disks
from daemon.status import DiskReport
from pipeline.base.backoff import Backoff
from store import StoreError

log = structlog.get_logger(__name__)

CHECK_SECONDS = 10.0

FIRST_PAUSE_SECONDS = 30.0
MAX_PAUSE_SECONDS = 600.0
"""Pauses between attempts to remove pictures after an attempt that freed nothing."""

WARNING_ENDS_SHARE = 0.78
"""Used share of the disk below which a warning ends. Lower than `WARNING_SHARE`, so that the warning does not
flap."""
HEADROOM = 0.1
"""Additional share of the reserve that is freed, so that removal does not start again at once."""


@dataclass(frozen=True, slots=True)
class DiskWarning:
    """A warning in effect: the problems that were logged, and the text as of the last check."""

    problems: frozenset[str]
    text: str


class DiskReserve:
    """Keeps the reserve free, and warns about the daemon's disks."""

    def __init__(self, folders: DiskFolders, free_pictures: Callable[[int], Awaitable[int]]) -> None:
        """`free_pictures(size)` removes the oldest pictures until `size` bytes are freed; returns the bytes
        freed.

        It raises StoreError while the store is not available.
        """
        self._folders = folders
        self._free_pictures = free_pictures
        self._disks: list[Disk] = []
        self._warnings: dict[Path, DiskWarning] = {}
        self._stuck = ""
        """Why pictures cannot be removed although the reserve is in use; empty otherwise."""
        self._backoff = Backoff(FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS)
        self._next_attempt = 0.0

    @property
    def trouble(self) -> str:
        """What is wrong with the disks; empty if nothing is."""
        texts = [warning.text for warning in self._warnings.values()]
        return "; ".join([*texts, self._stuck] if self._stuck else texts)

    def status(self) -> list[DiskReport]:
        """Each disk as of the last check; a folder that cannot be read has no sizes."""
        readable = [
            DiskReport(
                folder=str(disk.folder),
                total_bytes=disk.space.total,
                free_bytes=disk.space.free,
                reserve_bytes=disk.reserve,
                warning=self._text(disk.folder),
            )
            for disk in self._disks
        ]
        folders = {disk.folder for disk in self._disks}
        unreadable = [
            DiskReport(folder=str(folder), warning=warning.text)
            for folder, warning in self._warnings.items()
            if folder not in folders
        ]
        return readable + unreadable

    def free_bytes(self) -> dict[str, float]:
        """Free bytes by folder."""
        return {str(disk.folder): disk.space.free for disk in self._disks}

    def size_bytes(self) -> dict[str, float]:
        """Size of the disk by folder, without what the file system keeps for root."""
        return {str(disk.folder): disk.space.total for disk in self._disks}

    def reserve_bytes(self) -> dict[str, float]:
        """The reserve by folder."""
        return {str(disk.folder): disk.reserve for disk in self._disks if disk.keeps_reserve}

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            await self.check()
            await asyncio.sleep(CHECK_SECONDS)

    async def check(self) -> None:
        """Read the disks once, and remove pictures if the reserve is used."""
        errors = await self._read()
        short = next((disk for disk in self._disks if disk.reserve_used), None)
        if short is None:
            if not errors:
                self._removal_works()
        elif time.monotonic() >= self._next_attempt:
            await self._free(short)
            errors = await self._read()
        self._update_warnings(errors)

    async def _read(self) -> dict[Path, str]:
        self._disks, errors = await asyncio.to_thread(read_disks, self._folders)
        return errors

    async def _free(self, disk: Disk) -> None:
        wanted = int(disk.reserve * (1 + HEADROOM)) - disk.space.free
        try:
            freed = await self._free_pictures(wanted)
        except StoreError as error:
            self._removal_fails(f"no pictures can be removed at present: {error}")
            return
        if freed:
            log.info("removed the oldest pictures to keep the disk's reserve free", freed_bytes=freed)
            self._removal_works()
        else:
            self._removal_fails(
                f"nothing more can be removed from {disk.folder}: other files, or pictures of enrolled "
                "people, fill its disk"
            )

    def _removal_fails(self, reason: str) -> None:
        if not self._stuck:
            log.warning("the reserve of a disk cannot be kept free", reason=reason)
        self._stuck = reason
        self._next_attempt = time.monotonic() + self._backoff.pause_seconds()

    def _removal_works(self) -> None:
        if self._stuck:
            log.info("the reserve of a disk can be kept free again")
        self._stuck = ""
        self._next_attempt = 0.0
        self._backoff.reset()

    def _update_warnings(self, errors: Mapping[Path, str]) -> None:
        """Log each warning when it begins, gets worse, or ends."""
        current = {folder: DiskWarning(frozenset({"unreadable"}), text) for folder, text in errors.items()}
        for disk in self._disks:
            before = self._warnings.get(disk.folder)
            if disk.problems:
                # "reserve_used" stays until the whole warning ends: free space near the reserve fluctuates.
                kept = before.problems & {"reserve_used"} if before else frozenset[str]()
                current[disk.folder] = DiskWarning(disk.problems | kept, disk.warning)
            elif before and "filling" in before.problems and disk.space.used_share >= WARNING_ENDS_SHARE:
                current[disk.folder] = before
        for folder, warning in current.items():
            if warning.problems - getattr(self._warnings.get(folder), "problems", frozenset()):
                log.warning("a disk needs attention", detail=warning.text)
        for folder in self._warnings.keys() - current.keys():
            log.info("a disk is in order again", folder=str(folder))
        self._warnings = current

    def _text(self, folder: Path) -> str:
        warning = self._warnings.get(folder)
        return warning.text if warning else ""

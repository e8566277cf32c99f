"""Free space on the disks of the data folder and the pictures, and the reserve that pictures leave free."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from daemon.errors import SettingsError

GIGABYTE = 10**9

WARNING_SHARE = 0.8
"""Used share of a disk above which log, status and doctor warn."""

DEFAULT_RESERVE_SHARE = 0.05
DEFAULT_RESERVE_BYTES = GIGABYTE
"""Minimum of the default reserve."""
SMALL_DISK_RESERVE_SHARE = 0.2
"""Maximum of the default reserve; decides on disks below 5 GB."""
MAX_RESERVE_SHARE = 0.9
"""A larger reserve would remove every picture as soon as it is stored."""

Problem = Literal["filling", "reserve_used", "reserve_too_large"]


@dataclass(frozen=True, slots=True)
class DiskFolders:
    """The folders that the daemon fills."""

    data: Path
    pictures: Path | None = None
    """None if an upload server keeps the pictures."""
    min_free_bytes: int | None = None
    """Reserve on the disk of the pictures. None: the default."""


@dataclass(frozen=True, slots=True)
class DiskSpace:
    """Size of a disk at one moment, in bytes."""

    total: int
    free: int
    """Available to this process; most file systems keep a share for root."""

    @classmethod
    def read(cls, folder: Path) -> "DiskSpace":
        """The disk of the folder or of its nearest parent that exists.

        Raises:
            OSError: the folder cannot be read.
        """
        usage = shutil.disk_usage(_nearest(folder))
        return cls(usage.used + usage.free, usage.free)

    @property
    def used_share(self) -> float:
        return 1 - self.free / self.total if self.total else 1.0

    @property
    def default_reserve(self) -> int:
        """5 % of the disk and at least 1 GB, but at most a fifth of it."""
        usual = max(DEFAULT_RESERVE_SHARE * self.total, DEFAULT_RESERVE_BYTES)
        return int(min(usual, SMALL_DISK_RESERVE_SHARE * self.total))

    @property
    def max_reserve(self) -> int:
        return int(MAX_RESERVE_SHARE * self.total)


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk that the daemon writes to."""

    folder: Path
    """The folder on it."""
    space: DiskSpace
    keeps_reserve: bool = False
    """Whether the disk holds pictures, which leave a reserve free."""
    min_free_bytes: int | None = None

    @property
    def reserve_too_large(self) -> bool:
        """Whether the configured reserve exceeds the limit for this disk; the default applies instead."""
        return self.keeps_reserve and (self.min_free_bytes or 0) > self.space.max_reserve

    @property
    def reserve(self) -> int:
        """Bytes that pictures leave free; 0 on a disk without pictures."""
        if not self.keeps_reserve:
            return 0
        if self.min_free_bytes is None or self.reserve_too_large:
            return self.space.default_reserve
        return self.min_free_bytes

    @property
    def reserve_used(self) -> bool:
        return self.space.free < self.reserve

    @property
    def problems(self) -> frozenset[Problem]:
        found: dict[Problem, bool] = {
            "filling": self.space.used_share >= WARNING_SHARE,
            "reserve_used": self.reserve_used,
            "reserve_too_large": self.reserve_too_large,
        }
        return frozenset(problem for problem, present in found.items() if present)

    @property
    def warning(self) -> str:
        """The problems as text; empty if there are none."""
        texts = []
        if self.problems & {"filling", "reserve_used"}:
            free = f"{self.space.free / GIGABYTE:.1f} GB are free"
            text = f"the disk of {self.folder} is {self.space.used_share:.0%} full, {free}"
            if self.reserve_used:
                text += f", less than the reserve of {_gb(self.reserve)} (uploads.min_free_bytes)"
            texts.append(text)
        if self.reserve_too_large:
            texts.append(
                f"{self.reserve_refusal}; the default reserve of {_gb(self.reserve)} applies meanwhile"
            )
        return "; ".join(texts)

    @property
    def reserve_refusal(self) -> str:
        return (
            f"uploads.min_free_bytes = {self.min_free_bytes}: expected at most {self.space.max_reserve}, "
            f"90 % of the disk of {self.folder}"
        )


def read_disks(folders: DiskFolders) -> tuple[list[Disk], dict[Path, str]]:
    """The disk of the pictures, and that of the data folder if it is another one.

    Returns the disks that can be read, and the reason for each folder that cannot.
    """
    disks: list[Disk] = []
    errors: dict[Path, str] = {}
    device = None
    if folders.pictures is not None:
        try:
            device = _nearest(folders.pictures).stat().st_dev
            space = DiskSpace.read(folders.pictures)
            disks.append(Disk(folders.pictures, space, True, folders.min_free_bytes))
        except OSError as error:
            errors[folders.pictures] = _unreadable(folders.pictures, error)
    try:
        if device is None or device != _nearest(folders.data).stat().st_dev:
            disks.append(Disk(folders.data, DiskSpace.read(folders.data)))
    except OSError as error:
        errors[folders.data] = _unreadable(folders.data, error)
    return disks, errors


def require_possible_reserve(folders: DiskFolders, settings_file: Path) -> None:
    """Check that the configured reserve leaves room for pictures.

    Raises:
        SettingsError: `uploads.min_free_bytes` is more than 90 % of the disk.
    """
    for disk in read_disks(folders)[0]:
        if disk.reserve_too_large:
            raise SettingsError([f"{settings_file}: {disk.reserve_refusal}"])


def _nearest(folder: Path) -> Path:
    """The folder or its nearest parent that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _unreadable(folder: Path, error: OSError) -> str:
    return f"the free space of the disk of {folder} cannot be read ({error.strerror})"


def _gb(size: int) -> str:
    return f"{size / GIGABYTE:.1f} GB"

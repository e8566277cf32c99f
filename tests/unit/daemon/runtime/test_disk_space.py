"""The reserve that pictures leave free, and the warnings about a disk."""

from pathlib import Path

import pytest

from daemon.errors import SettingsError
from daemon.runtime.disk_space import Disk, DiskFolders, DiskSpace, read_disks, require_possible_reserve

GB = 10**9


@pytest.mark.parametrize(
    ("total", "min_free_bytes", "reserve"),
    [
        (1000 * GB, None, 50 * GB),
        (20 * GB, None, 1 * GB),
        (8 * GB, None, 1 * GB),
        (2 * GB, None, GB * 2 // 5),
        (0, None, 0),
        (20 * GB, 0, 0),
        (20 * GB, 3 * GB, 3 * GB),
        (20 * GB, 18 * GB, 18 * GB),
        (20 * GB, 18 * GB + 1, 1 * GB),
        (20 * GB, 500 * GB, 1 * GB),
    ],
)
def test_the_reserve_follows_the_disk(total: int, min_free_bytes: int | None, reserve: int) -> None:
    """Default: 5 % and at least 1 GB, at most a fifth. A setting above 90 % of the disk gives way to it."""
    disk = Disk(Path("/srv"), DiskSpace(total, total), keeps_reserve=True, min_free_bytes=min_free_bytes)
    assert disk.reserve == reserve


def test_a_disk_without_pictures_has_no_reserve() -> None:
    """Nothing on it could be removed to keep one."""
    assert Disk(Path("/srv"), DiskSpace(20 * GB, 20 * GB), min_free_bytes=3 * GB).reserve == 0


@pytest.mark.parametrize(
    ("free", "min_free_bytes", "words"),
    [
        (50 * GB, 5 * GB, ()),
        (20 * GB, 5 * GB, ("80% full", "20.0 GB are free")),
        (4 * GB, 5 * GB, ("96% full", "less than the reserve of 5.0 GB", "uploads.min_free_bytes")),
        (60 * GB, 70 * GB, ("less than the reserve",)),
        (60 * GB, 95 * GB, ("uploads.min_free_bytes", "90 %", "default reserve of 5.0 GB")),
    ],
)
def test_a_warning_names_the_problem(free: int, min_free_bytes: int, words: tuple[str, ...]) -> None:
    """Above 80 % used, with the reserve in use, or with an impossible reserve."""
    disk = Disk(Path("/srv/pictures"), DiskSpace(100 * GB, free), True, min_free_bytes)
    assert bool(disk.warning) == bool(words) == bool(disk.problems)
    assert all(word in disk.warning for word in (*words, "/srv/pictures" if words else ""))


def test_a_folder_that_does_not_exist_is_on_the_disk_of_its_parent(tmp_path: Path) -> None:
    """There is no data folder before the first start."""
    assert DiskSpace.read(tmp_path / "a" / "b").total == DiskSpace.read(tmp_path).total > 0


def test_one_disk_is_read_once(tmp_path: Path) -> None:
    """Pictures inside the data folder are on its disk."""
    disks, errors = read_disks(DiskFolders(tmp_path, tmp_path / "uploads"))
    assert [disk.folder for disk in disks] == [tmp_path / "uploads"]
    assert errors == {}


def test_without_a_pictures_folder_the_data_disk_is_watched(tmp_path: Path) -> None:
    """Pictures on an upload server leave the data folder to fill."""
    disks, _ = read_disks(DiskFolders(tmp_path))
    assert [disk.folder for disk in disks] == [tmp_path]


def test_a_folder_that_cannot_be_read_leaves_the_other(tmp_path: Path) -> None:
    """The error names the folder and the reason."""
    unreadable = tmp_path / ("x" * 300)
    disks, errors = read_disks(DiskFolders(tmp_path, unreadable))
    assert [disk.folder for disk in disks] == [tmp_path]
    assert str(unreadable) in errors[unreadable] and "name too long" in errors[unreadable].lower()


def test_a_reserve_larger_than_the_disk_is_refused(tmp_path: Path) -> None:
    """One line with file, key, value and limit; 90 % of the disk passes."""
    limit = DiskSpace.read(tmp_path).max_reserve
    require_possible_reserve(DiskFolders(tmp_path, tmp_path, limit), Path("settings.toml"))
    with pytest.raises(SettingsError) as refused:
        require_possible_reserve(DiskFolders(tmp_path, tmp_path, limit + GB), Path("settings.toml"))
    (line,) = refused.value.lines
    assert line.startswith(f"settings.toml: uploads.min_free_bytes = {limit + GB}: expected at most {limit}")

"""How much of a disk pictures leave free, and when a disk is reported."""

from pathlib import Path

import pytest

from daemon.runtime.disk_space import Disk, DiskSpace

GB = 10**9


@pytest.mark.parametrize(
    ("total", "set_to", "reserve"),
    [
        (1000 * GB, None, 50 * GB),
        (20 * GB, None, 1 * GB),
        (8 * GB, None, 1 * GB),
        (2 * GB, None, GB * 2 // 5),
        (0, None, 0),
        (20 * GB, 0, 0),
        (20 * GB, 3 * GB, 3 * GB),
        (20 * GB, 500 * GB, 20 * GB),
    ],
)
def test_the_reserve_follows_the_disk(total: int, set_to: int | None, reserve: int) -> None:
    """5 % and at least 1 GB, no more than a fifth of a small disk; a setting decides otherwise."""
    assert DiskSpace(total, total).reserve(set_to) == reserve


@pytest.mark.parametrize(
    ("free", "reserve", "words"),
    [
        (50 * GB, 5 * GB, ()),
        (20 * GB, 5 * GB, ("80% full", "20.0 GB are free")),
        (4 * GB, 5 * GB, ("96% full", "less than the reserve of 5.0 GB", "uploads.min_free_bytes")),
        (60 * GB, 70 * GB, ("less than the reserve",)),
    ],
)
def test_a_disk_is_reported_from_80_percent_on(free: int, reserve: int, words: tuple[str, ...]) -> None:
    """And whenever its reserve is in use; the text says where, how full, and which setting matters."""
    text = Disk(Path("/srv/pictures"), True, DiskSpace(100 * GB, free), reserve).warning()
    assert bool(text) == bool(words)
    assert all(word in text for word in (*words, "/srv/pictures" if words else ""))


def test_a_folder_that_does_not_exist_yet_lies_on_its_parents_disk(tmp_path: Path) -> None:
    """A first start has no data folder."""
    assert DiskSpace.of(tmp_path / "a" / "b").total == DiskSpace.of(tmp_path).total > 0

"""When the daemon removes pictures, how often it tries, and what log and status say."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from structlog.typing import EventDict

from daemon.runtime import disk_reserve
from daemon.runtime.disk_reserve import DiskReserve
from daemon.runtime.disk_space import Disk, DiskFolders, DiskSpace
from daemon.status import DiskReport
from store import StoreUnavailableError

GB = 10**9
FOLDER = Path("/srv/reserve/pictures")
"""Its name is also a word of the warnings."""


class Box:
    """A disk of 100 GB whose free space the test decides, and pictures on it that can be removed."""

    def __init__(self) -> None:
        self.free_bytes = 50 * GB
        self.removable_bytes = 0
        self.attempts = 0
        self.error = ""
        self.away = False
        self.now = 1000.0
        self.min_free_bytes: int | None = None
        self.reserve = DiskReserve(DiskFolders(Path("/data"), FOLDER), self.remove)

    def read(self, _folders: DiskFolders) -> tuple[list[Disk], dict[Path, str]]:
        if self.error:
            return [], {FOLDER: self.error}
        return [Disk(FOLDER, DiskSpace(100 * GB, self.free_bytes), True, self.min_free_bytes)], {}

    async def remove(self, wanted: int) -> int:
        self.attempts += 1
        if self.away:
            raise StoreUnavailableError("MongoDB is away")
        freed = min(wanted, self.removable_bytes)
        self.removable_bytes -= freed
        self.free_bytes += freed
        return freed

    async def checks(self, number: int) -> list[EventDict]:
        """As many checks at their usual interval; the log lines."""
        with structlog.testing.capture_logs() as lines:
            for _ in range(number):
                await self.reserve.check()
                self.now += disk_reserve.CHECK_SECONDS
        return lines


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch) -> Iterator[Box]:
    box = Box()
    monkeypatch.setattr(disk_reserve, "read_disks", box.read)
    monkeypatch.setattr(disk_reserve.time, "monotonic", lambda: box.now)
    yield box


async def test_attempts_that_free_nothing_become_rarer(box: Box) -> None:
    """An hour of a disk that others fill costs few attempts and one warning of each kind."""
    box.free_bytes = 2 * GB
    lines = await box.checks(360)
    assert 6 <= box.attempts <= 24
    warnings = [line for line in lines if line["log_level"] == "warning"]
    assert len(warnings) == 2
    assert any("nothing more can be removed" in str(line.get("reason")) for line in warnings)
    assert "nothing more can be removed" in box.reserve.trouble


async def test_the_warning_ends_when_pictures_can_be_removed_again(box: Box) -> None:
    """The log says so once, and status has no trouble left."""
    box.free_bytes = 2 * GB
    await box.checks(3)
    box.removable_bytes = 90 * GB
    lines = await box.checks(60)
    assert [line["event"] for line in lines].count("the reserve of a disk can be kept free again") == 1
    assert "nothing more" not in box.reserve.trouble
    box.free_bytes = 60 * GB
    await box.checks(1)
    assert box.reserve.trouble == ""


async def test_a_store_that_is_away_is_named_and_spared(box: Box) -> None:
    """One warning with the store's own reason; attempts become rarer too."""
    box.free_bytes, box.away = 2 * GB, True
    lines = await box.checks(60)
    assert 2 <= box.attempts <= 8
    reasons = [line["reason"] for line in lines if "reason" in line]
    assert reasons == ["no pictures can be removed at present: MongoDB is away"]


async def test_a_warning_in_effect_is_not_repeated(box: Box) -> None:
    """Whatever the folder is called; a disk that gets worse is logged once more."""
    box.free_bytes = 15 * GB
    assert len(await box.checks(20)) == 1
    assert "85% full" in box.reserve.status()[0].warning
    box.free_bytes = 14 * GB
    assert await box.checks(20) == []
    assert "86% full" in box.reserve.status()[0].warning, "the text follows the disk"


async def test_a_folder_that_cannot_be_read_replaces_its_warning(box: Box) -> None:
    """The read error is the trouble while it lasts, and nothing remains of it afterwards."""
    box.free_bytes = 15 * GB
    await box.checks(1)
    box.error = "the free space cannot be read"
    lines = await box.checks(5)
    assert [line["detail"] for line in lines] == [box.error]
    assert box.reserve.trouble == box.error
    assert box.reserve.status() == [DiskReport(str(FOLDER), warning=box.error)]
    box.error, box.free_bytes = "", 60 * GB
    await box.checks(1)
    assert box.reserve.trouble == ""


async def test_a_warning_ends_with_a_margin(box: Box) -> None:
    """Free space that goes up and down around the limit logs once."""
    lines = []
    for free in (20, 21, 20, 21, 20):
        box.free_bytes = free * GB
        lines += await box.checks(1)
    assert len(lines) == 1
    box.free_bytes = 23 * GB
    assert [line["event"] for line in await box.checks(1)] == ["a disk is in order again"]


async def test_an_impossible_reserve_removes_nothing(box: Box) -> None:
    """A disk that became smaller than its reserve keeps its pictures; a warning names the setting."""
    box.min_free_bytes, box.removable_bytes = 200 * GB, 50 * GB
    lines = await box.checks(3)
    assert box.attempts == 0
    assert len(lines) == 1 and "uploads.min_free_bytes" in lines[0]["detail"]

"""Listing a folder of many pictures, beside a plain `os.walk` in the same run.

python -m tests.bench.bench_uploads [--json] [--pictures 1000000] [--a-day 5000]

The store lists in pages from a worker thread; meanwhile a task on the event loop measures how late it is
woken: 99 % of the wakes, and the longest, beside the same measure while nothing is listed. Memory is what the
listing adds to the process at most, beside that of all names in one list. The baseline in time walks the same
folders: names alone, and with a `stat` each.
"""

import asyncio
import os
import resource
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from store.uploads.folder import FolderUploads
from tests.bench.rows import Row, arguments, show

OWNER = "64b7f0a1b2c3d4e5f6a7b8c9"
WAKE_SECONDS = 0.005


def fill(root: Path, pictures: int, a_day: int) -> None:
    """Empty files under the names of pictures."""
    for start in range(0, pictures, a_day):
        day = start // a_day
        folder = root / OWNER / f"{2026 + day // 336}{day // 28 % 12 + 1:02d}{day % 28 + 1:02d}"
        folder.mkdir(parents=True)
        for number in range(start, min(start + a_day, pictures)):
            (folder / f"{10**18 + number}_aabbccddeeff_photo.jpeg").touch()


def walked(root: Path, *, sizes: bool) -> int:
    count = 0
    for place, _, files in os.walk(root):
        for name in files:
            if sizes:
                os.stat(os.path.join(place, name))  # noqa: PTH116, PTH118  as bare as it gets
            count += 1
    return count


async def measured(listing: AsyncIterator[object]) -> tuple[int, float, list[float], float]:
    """How many there were, seconds, how late the loop was, and MiB more memory at most."""
    late: list[float] = []
    done = asyncio.Event()

    async def wake() -> None:
        while not done.is_set():
            since = time.monotonic()
            await asyncio.sleep(WAKE_SECONDS)
            late.append(max(0.0, time.monotonic() - since - WAKE_SECONDS))

    waking = asyncio.create_task(wake())
    before, since, count = _memory_mib(), time.perf_counter(), 0
    async for _ in listing:
        count += 1
    seconds = time.perf_counter() - since
    done.set()
    await waking
    return count, seconds, sorted(late), _memory_mib() - before


async def compared(
    case: str, listing: Callable[[], AsyncIterator[object]], bare: Callable[[], int]
) -> list[Row]:
    count, seconds, late, memory = await measured(listing())
    _, _, idle, _ = await measured(_nothing())
    since = time.perf_counter()
    found = bare()
    baseline = time.perf_counter() - since
    assert found == count
    names = count * 140 / 2**20  # a key is a string of 91 characters: 140 bytes
    return [
        Row.compare("time", case, seconds, "s", baseline),
        Row.compare("loop late, 99 %", case, _share(late, 0.99), "ms", _share(idle, 0.99)),
        Row.compare("loop late, longest", case, late[-1] * 1000, "ms", idle[-1] * 1000),
        Row.compare("memory added", case, memory, "MiB", names),
    ]


async def _nothing() -> AsyncIterator[object]:
    """Two seconds in which the loop only sleeps."""
    await asyncio.sleep(2)
    yield None


def _share(late: list[float], share: float) -> float:
    return late[int(len(late) * share)] * 1000


def _memory_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--pictures", type=int, default=1_000_000)
    parser.add_argument("--a-day", type=int, default=5_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="facend-") as folder:
        root = Path(folder)
        fill(root, asked.pictures, asked.a_day)
        uploads = FolderUploads(root)
        rows = await compared("keys", lambda: uploads.list_keys(OWNER), lambda: walked(root, sizes=False))
        rows += await compared("sizes", lambda: uploads.entries(OWNER), lambda: walked(root, sizes=True))
    show(rows, as_json=asked.json)


if __name__ == "__main__":
    asyncio.run(main())

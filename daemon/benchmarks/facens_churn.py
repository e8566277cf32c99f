"""Memory of the facen storage after removals and additions, and how long they block the event loop."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Coroutine

import numpy as np
from bson import ObjectId
from numpy.typing import NDArray

from daemon.benchmarks.measurements import Row
from store.facens import LocalFacens

CHURNED = 2000
LIMIT = 10
THRESHOLD = 0.75


async def measure_churn(
    storage: LocalFacens, owner: ObjectId, gallery: str, vectors: NDArray[np.float32], case: str
) -> AsyncIterator[Row]:
    """The longest block of the event loop while faces change and are searched, and the memory afterwards."""
    before = await storage.memory()
    half = list(range(0, len(vectors), 2))
    gc.freeze()  # keeps the garbage collector from scanning this list

    async def search(number: int) -> None:
        for allowed in (None, half, None):
            await storage.search(owner, gallery, vectors[number], LIMIT, THRESHOLD, allowed)

    async def churn() -> None:
        for number in range(CHURNED):
            await storage.remove(owner, gallery, number)
            await asyncio.sleep(0)
            await storage.add(owner, gallery, number, vectors[number])
            await asyncio.sleep(0)

    async def busy() -> None:
        await asyncio.gather(churn(), *(search(number) for number in range(4)))

    since = time.perf_counter()
    wall, own = await longest_block(busy())
    seconds = time.perf_counter() - since
    idle, _ = await longest_block(asyncio.sleep(seconds))
    yield Row.compare("longest block of the loop, own time (5 ms)", case, own * 1e3, "ms", 5)
    yield Row.compare("longest block of the loop vs. idle", case, wall * 1e3, "ms", idle * 1e3)
    yield Row.compare("memory during searches", case, (await storage.memory()) / 2**20, "MiB", before / 2**20)
    yield Row.compare("removal and addition during searches", case, seconds / CHURNED * 1e6, "µs", 100)
    count = new = len(vectors)
    since = time.perf_counter()
    for number in range(count):  # replaces every face
        await storage.remove(owner, gallery, number)
        await storage.add(owner, gallery, new + number, vectors[number])
    seconds = time.perf_counter() - since
    same = await storage.ids(owner, gallery) == list(range(new, new + count))
    yield Row.compare(
        "memory after removals and additions", case, (await storage.memory()) / 2**20, "MiB", before / 2**20
    )
    yield Row.compare("no ghosts after removals and additions", case, float(same), "", 1)
    yield Row.compare("removal and addition", case, seconds / count * 1e6, "µs", 100)


async def longest_block(work: Coroutine[object, object, object]) -> tuple[float, float]:
    """The longest block of the event loop during the work, in seconds: wall and CPU time."""
    task = asyncio.ensure_future(work)
    wall = own = 0.0
    last, last_own = time.perf_counter(), time.thread_time()
    while not task.done():
        await asyncio.sleep(0)
        now, now_own = time.perf_counter(), time.thread_time()
        wall, own = max(wall, now - last), max(own, now_own - last_own)
        last, last_own = now, now_own
    await task
    return wall, own

"""The local facen storage under concurrency and growth."""

import asyncio
import time

import numpy as np
from bson import ObjectId

from store.facens import LocalFacens
from tests.facens import person_facen

A = ObjectId()


async def test_searches_are_correct_during_changes() -> None:
    """Searches in threads during additions and removals return correct results."""
    storage = LocalFacens()
    stay = {number: person_facen(number) for number in range(10_000)}
    await storage.add_many(A, "g", stay.items())
    stop = asyncio.Event()

    async def churn() -> None:
        number = 100_000
        while not stop.is_set():
            for key in range(number, number + 50):
                await storage.add(A, "g", key, person_facen(0))
            for key in range(number, number + 50):
                await storage.remove(A, "g", key)
                await asyncio.sleep(0)
            number += 50

    async def ask(number: int) -> None:
        for _ in range(10):
            found = await storage.search(A, "g", stay[number], 1, 0.99)
            assert [hit.id for hit in found.hits] == [number]

    worker = asyncio.create_task(churn())
    await asyncio.gather(*(ask(number) for number in range(1, 9)))
    stop.set()
    await worker
    assert await storage.count(A, "g") == 10_000


async def test_a_large_search_does_not_block_the_event_loop() -> None:
    """A gallery of 100,000 faces is searched in a thread."""
    storage = LocalFacens()
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((100_000, 128)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    await storage.add_many(A, "g", enumerate(vectors))
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    turner = asyncio.create_task(turn())
    await asyncio.sleep(0)
    before = turns
    searches = 10  # however busy the machine is, the loop turns once in each, and not at all if it is blocked
    for _ in range(searches):
        (hit,) = (await storage.search(A, "g", vectors[4711], 1, 0.9)).hits
        assert hit.id == 4711
    assert turns - before >= searches
    turner.cancel()


async def test_adding_stays_cheap_as_a_gallery_grows() -> None:
    """Thirty-two times as many faces take about thirty-two times as long, not its square."""

    async def seconds(count: int) -> float:
        storage = LocalFacens()
        facen = person_facen(0, 16)
        since = time.perf_counter()
        await storage.add_many(A, "g", ((number, facen) for number in range(count)))
        return time.perf_counter() - since

    small = min([await seconds(2_000) for _ in range(3)])
    assert await seconds(64_000) < 32 * small * 4

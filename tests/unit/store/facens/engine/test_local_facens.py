"""The local facen storage: threads, memory and precision."""

import asyncio
import threading

import numpy as np
import pytest
from bson import ObjectId

from pipeline.faces.facen import cosine, normalise
from store.facens import LocalFacens
from store.facens.engine import gallery_array, scan
from store.facens.engine import local as local_module
from store.facens.engine.gallery_array import HUGE_PAGE, Block, Precision, Stored, rows_in_block
from store.facens.engine.scan import search
from tests.facens import SIZE, like, person_facen
from tests.own_memory import own_kibibytes

OWNER = ObjectId()
WAIT_SECONDS = 10


class HeldSearches:
    """Searches that wait, in their thread, until they are let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = threading.Event()
        self.go_on = threading.Event()

        def held(*question: object) -> object:
            self.begun.set()
            assert self.go_on.wait(WAIT_SECONDS)
            return search(*question)  # type: ignore[arg-type]  # passed on as they came

        monkeypatch.setattr(local_module, "search", held)
        monkeypatch.setattr(local_module, "MIN_THREAD_VALUES", 0)


async def test_a_search_reads_a_view_of_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are added, removed, moved and reused meanwhile without effect on the result."""
    storage = LocalFacens()
    for number in range(16):
        await storage.add(OWNER, "g", number, person_facen(number))
    held = HeldSearches(monkeypatch)
    asked = asyncio.create_task(storage.search(OWNER, "g", person_facen(15), 20, 0.0))
    await asyncio.to_thread(held.begun.wait, WAIT_SECONDS)
    for number in range(12):
        assert await storage.remove(OWNER, "g", number)
    for number in range(100, 130):
        await storage.add(OWNER, "g", number, person_facen(15))
    held.go_on.set()
    hits = (await asked).hits
    assert sorted(hit.id for hit in hits) == list(range(16))
    assert (hits[0].id, hits[1].confidence < 0.9) == (15, True)
    assert await storage.ids(OWNER, "g") == [12, 13, 14, 15, *range(100, 130)]


async def test_each_search_has_its_own_view(monkeypatch: pytest.MonkeyPatch) -> None:
    """A block copied for the first search is copied again for a later one."""
    storage = LocalFacens()
    for number in range(4):
        await storage.add(OWNER, "g", number, person_facen(number))
    held = HeldSearches(monkeypatch)
    first = asyncio.create_task(storage.search(OWNER, "g", person_facen(0), 9, 0.9))
    await asyncio.sleep(0)
    await storage.remove(OWNER, "g", 0)
    second = asyncio.create_task(storage.search(OWNER, "g", person_facen(1), 9, 0.9))
    await asyncio.sleep(0)
    await storage.remove(OWNER, "g", 1)
    await storage.add(OWNER, "g", 9, person_facen(9))
    held.go_on.set()
    assert [hit.id for hit in (await first).hits] == [0]
    assert [hit.id for hit in (await second).hits] == [1]
    assert await storage.ids(OWNER, "g") == [2, 3, 9]


async def test_a_cancelled_search_keeps_its_view_until_its_thread_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The thread still reads the rows."""
    storage = LocalFacens()
    await storage.add(OWNER, "g", 0, person_facen(0))
    await storage.add(OWNER, "g", 1, person_facen(1))
    held = HeldSearches(monkeypatch)
    asked = asyncio.create_task(storage.search(OWNER, "g", person_facen(1), 1, 0.9))
    await asyncio.to_thread(held.begun.wait, WAIT_SECONDS)
    asked.cancel()
    await asyncio.sleep(0.02)
    assert not asked.done()
    held.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await asked


async def test_an_emptied_gallery_releases_its_memory() -> None:
    """Many additions and removals leave no entries and no growth."""
    storage = LocalFacens()
    facen = person_facen(0)
    for first in range(0, 2000, 400):
        await storage.add_many(OWNER, "g", ((first + number, facen) for number in range(400)))
        for number in range(400):
            assert await storage.remove(OWNER, "g", first + number)
    assert await storage.count(OWNER, "g") == 0
    assert await storage.galleries() == []
    assert (await storage.health())[0].facens == (await storage.memory()) == 0


def test_a_block_takes_only_the_memory_of_its_facens() -> None:
    """It is aligned to a huge page, and its padding takes no memory."""
    before = own_kibibytes()
    blocks = [Block.empty(4096, SIZE, Precision.FULL) for _ in range(30)]
    for block in blocks:
        block.vectors[:], block.ids[:] = 1, 1
        assert block.vectors.ctypes.data % HUGE_PAGE == 0
    raw = sum(block.vectors.nbytes + block.ids.nbytes for block in blocks) / 1024
    assert 0.9 * raw <= own_kibibytes() - before <= 1.1 * raw


async def test_blocks_are_allocated_in_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """When a gallery grows, and when a removal copies a block of a view."""
    made: list[tuple[int, bool]] = []

    def uninitialised(rows: int, size: int, precision: Precision) -> Stored:
        made.append((rows, threading.current_thread() is threading.main_thread()))
        return original(rows, size, precision)

    original = gallery_array.uninitialised
    monkeypatch.setattr(gallery_array, "uninitialised", uninitialised)
    whole = rows_in_block(SIZE)
    storage = LocalFacens()
    facen = person_facen(0)
    await storage.add_many(OWNER, "g", ((number, facen) for number in range(2 * whole)))
    for number in range(2 * whole, 2 * whole + 100):
        await storage.add(OWNER, "g", number, person_facen(1))
    grown = made.count((whole, False))
    held = HeldSearches(monkeypatch)
    asked = asyncio.create_task(storage.search(OWNER, "g", person_facen(1), 1, 0.0))
    await asyncio.to_thread(held.begun.wait, WAIT_SECONDS)
    assert await storage.remove(OWNER, "g", 5)
    held.go_on.set()
    await asked
    assert grown == 3
    assert made.count((whole, False)) > grown
    assert (whole, True) not in made


async def test_memory_is_constant_at_a_constant_size() -> None:
    """After ten thousand additions and removals a gallery of a hundred takes the same memory."""
    storage = LocalFacens(16)
    facens = [person_facen(number, 16) for number in range(100)]
    await storage.add_many(OWNER, "g", enumerate(facens))
    await storage.add(OWNER, "g", 100, facens[0])
    before = await storage.memory()
    for number in range(10_000):
        await storage.remove(OWNER, "g", number + 1)
        await storage.add(OWNER, "g", number + 101, facens[(number + 1) % 100])
    assert (await storage.memory()) == before
    assert await storage.count(OWNER, "g") == 101


@pytest.mark.parametrize("seed", range(3))
async def test_half_precision_gives_the_same_order_and_confidence(seed: int) -> None:
    """With half the memory; confidences differ by less than 0.0001, and equal facens still reach 1."""
    rng = np.random.default_rng(seed)
    facens = [normalise(row) for row in rng.standard_normal((3000, 128)).astype(np.float32)]
    facens += [like(facens[0], 0.9 - number / 50, number) for number in range(10)]
    full, half = LocalFacens(), LocalFacens(precision=Precision.HALF)
    for storage in (full, half):
        await storage.add_many(OWNER, "g", enumerate(facens))
    exact = (await full.search(OWNER, "g", facens[0], 11, 0.0)).hits
    near = (await half.search(OWNER, "g", facens[0], 11, 0.0)).hits
    assert [hit.id for hit in near] == [hit.id for hit in exact]
    assert [hit.confidence for hit in near] == pytest.approx([hit.confidence for hit in exact], abs=1e-4)
    assert (await half.search(OWNER, "g", facens[0], 1, 1.0)).hits[0].id == 0
    assert (await half.memory()) < 0.55 * (await full.memory())


@pytest.mark.parametrize("precision", Precision)
async def test_a_single_query_by_faiss_equals_several_by_numpy(
    monkeypatch: pytest.MonkeyPatch, precision: Precision
) -> None:
    """With and without allowed ids."""
    rng = np.random.default_rng(6)
    facens = [normalise(row) for row in rng.standard_normal((9000, 128)).astype(np.float32)]
    storage = LocalFacens(precision=precision)
    await storage.add_many(OWNER, "g", enumerate(facens))
    (expected, _) = await storage.search_many(OWNER, "g", facens[-2:], 60, 0.5)
    monkeypatch.setattr(scan, "MIN_FAISS", len(facens))
    found = await storage.search(OWNER, "g", facens[-2], 10, 0.5)
    assert [hit.id for hit in found.hits] == [hit.id for hit in expected.hits[:10]]
    confidences = [hit.confidence for hit in expected.hits[:10]]
    assert [hit.confidence for hit in found.hits] == pytest.approx(confidences, abs=1e-6)
    among = await storage.search(OWNER, "g", facens[-2], 10, 0.5, range(0, len(facens), 3))
    assert [hit.id for hit in among.hits] == [hit.id for hit in expected.hits if hit.id % 3 == 0][:10]


async def test_large_lists_of_allowed_ids_are_exact() -> None:
    """Only the best allowed faces are found, whichever method the share of allowed ids selects."""
    rng = np.random.default_rng(5)
    storage = LocalFacens()
    vectors = rng.standard_normal((20_000, 32)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = rng.choice(2**62, 20_000, replace=False)
    await storage.add_many(OWNER, "g", zip(ids.tolist(), vectors, strict=True))
    strangers = [1, 2, 3]
    for share in (0.001, 0.05, 0.3, 0.9):
        allowed = rng.choice(20_000, int(share * 20_000) + 300, replace=False)
        alike = vectors[allowed] @ vectors[7]
        order = np.argsort(-alike)
        for threshold in (0.0, 0.65):
            expected = [int(ids[allowed[place]]) for place in order if alike[place] >= cosine(threshold)][:15]
            chosen = [*ids[allowed].tolist(), *strangers]
            found = await storage.search(OWNER, "g", vectors[7], 15, threshold, chosen)
            assert [hit.id for hit in found.hits] == expected, share

"""How fast, how large and how exact the facen storage is.

Facens are made: `random` ones are as good as unrelated; `clustered` ones are those of people with twenty
faces each, whose cosines to each other are about 0.7, as a day at a door gives them.
"""

import asyncio
import importlib.util
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from typing import Literal

import numpy as np
from bson import ObjectId
from numpy.typing import NDArray

from daemon.benchmarks.rows import Row, fastest, fastest_of
from store.facens import FacenStorage, LocalFacens
from store.facens.gallery_array import Precision

Kind = Literal["random", "clustered"]
Floats = NDArray[np.float32]

GALLERY = "g"
QUERIES = 32
LIMIT = 10
THRESHOLD = 0.75
FACES_OF_A_PERSON = 20
WITHIN = 0.7
"""The cosine of two faces of one person."""
CHURNED = 2000
LOOSE = 1e-4
"""A person's face and itself, in half precision."""


def made(kind: Kind, count: int, size: int, seed: int = 0) -> Floats:
    """(count, size), normalised."""
    rng = np.random.default_rng(seed)
    if kind == "random":
        return _unit(rng.standard_normal((count, size), dtype=np.float32))
    people = _unit(rng.standard_normal((max(1, count // FACES_OF_A_PERSON), size), dtype=np.float32))
    aside = _unit(rng.standard_normal((count, size), dtype=np.float32))
    # Unrelated directions in many dimensions are nearly upright to each other.
    mixed = np.sqrt(WITHIN) * people[rng.integers(0, len(people), count)] + np.sqrt(1 - WITHIN) * aside
    return _unit(mixed.astype(np.float32))


def _unit(vectors: Floats) -> Floats:
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


async def measure_local(kind: Kind, count: int, size: int) -> AsyncIterator[Row]:
    """The storage in memory, for one gallery of so many facens."""
    case = f"{kind} {count}×{size}"
    owner, vectors = ObjectId(), made(kind, count, size)
    storage = LocalFacens(size)
    since = time.perf_counter()
    await storage.add_many(owner, GALLERY, enumerate(vectors))
    seconds = time.perf_counter() - since
    yield Row.of("add one (at most 100 µs)", case, seconds / count * 1e6, "µs", 100)
    yield Row.of("memory beside the raw facens", case, storage.nbytes / 2**20, "MiB", vectors.nbytes / 2**20)
    query = vectors[count // 2]

    async def one() -> None:
        await storage.search(owner, GALLERY, query, LIMIT, THRESHOLD)

    plain = np.empty(count, dtype=np.float32)

    async def numpy_one() -> None:
        np.dot(vectors, query, out=plain)
        np.argpartition(plain, count - LIMIT)[-LIMIT:]

    async def read() -> None:
        vectors.view(np.int32).max()

    rivals: list[tuple[str, Callable[[], Awaitable[None]]]] = [("numpy", numpy_one)]
    if (faiss_one := _faiss(vectors, query)) is not None:
        rivals.append(("faiss.IndexFlatIP", faiss_one))
    ours, reading, *others = await fastest_of([one, read, *(work for _, work in rivals)])
    for (name, _), seconds in zip(rivals, others, strict=True):
        yield Row.of(f"search beside {name}", case, ours * 1e3, "ms", seconds * 1e3)
    speeds = [vectors.nbytes / seconds / 1e9 for seconds in (ours, reading)]
    yield Row.of("search beside reading memory", case, speeds[0], "GB/s", speeds[1])
    queries = list(vectors[:QUERIES])
    many = await fastest(lambda: storage.search_many(owner, GALLERY, queries, LIMIT, THRESHOLD), 3)
    yield Row.of(f"a query of {QUERIES} beside one alone", case, many / QUERIES * 1e3, "ms", ours * 1e3)
    async for row in _filtered(storage, owner, query, count, case, one):
        yield row
    async for row in _half(owner, vectors, case, storage, one):
        yield row
    async for row in _steady(storage, owner, vectors, case):
        yield row


async def _filtered(
    storage: LocalFacens,
    owner: ObjectId,
    query: Floats,
    count: int,
    case: str,
    unfiltered: Callable[[], Awaitable[None]],
) -> AsyncIterator[Row]:
    rng = np.random.default_rng(1)
    for what, number in (("a person", FACES_OF_A_PERSON), ("1 %", count // 100), ("half", count // 2)):
        allowed = rng.choice(count, number, replace=False).tolist()

        async def filtered(allowed: list[int] = allowed) -> None:
            await storage.search(owner, GALLERY, query, LIMIT, THRESHOLD, allowed)

        some, all_ = await fastest_of([filtered, unfiltered], 5)
        yield Row.of(f"search among {what} beside all", case, some * 1e3, "ms", all_ * 1e3)


async def _half(
    owner: ObjectId, vectors: Floats, case: str, full: LocalFacens, one: Callable[[], Awaitable[None]]
) -> AsyncIterator[Row]:
    half = LocalFacens(vectors.shape[1], precision=Precision.HALF)
    await half.add_many(owner, GALLERY, enumerate(vectors))
    query = vectors[len(vectors) // 2]

    async def half_one() -> None:
        await half.search(owner, GALLERY, query, LIMIT, THRESHOLD)

    some, all_ = await fastest_of([half_one, one], 5)
    yield Row.of("half precision: search beside full", case, some * 1e3, "ms", all_ * 1e3)
    yield Row.of("half precision: memory beside full", case, half.nbytes / 2**20, "MiB", full.nbytes / 2**20)
    probes = _unit(vectors[:QUERIES] + 0.05 * made("random", QUERIES, vectors.shape[1], 9))
    exact = await full.search_many(owner, GALLERY, list(probes), 1, 0)
    near = await half.search_many(owner, GALLERY, list(probes), 1, 0)
    same = sum(mine.hits[0].id == theirs.hits[0].id for mine, theirs in zip(near, exact, strict=True))
    off = max(
        abs(mine.hits[0].confidence - theirs.hits[0].confidence)
        for mine, theirs in zip(near, exact, strict=True)
    )
    yield Row.of("half precision: the same nearest", case, same, "of 32", len(probes))
    yield Row.of("half precision: confidence off by", case, off, "", LOOSE)


async def _steady(storage: LocalFacens, owner: ObjectId, vectors: Floats, case: str) -> AsyncIterator[Row]:
    """The loop's longest turn while some add and remove and others search, and what that leaves behind."""
    before = storage.nbytes

    async def search(number: int) -> None:
        for _ in range(3):
            await storage.search(owner, GALLERY, vectors[number], LIMIT, THRESHOLD)

    async def churn() -> None:
        for number in range(CHURNED):
            await storage.remove(owner, GALLERY, number)
            await asyncio.sleep(0)
            await storage.add(owner, GALLERY, number, vectors[number])
            await asyncio.sleep(0)

    async def busy() -> None:
        await asyncio.gather(churn(), *(search(number) for number in range(4)))

    since = time.perf_counter()
    wall, own = await _longest_turn(busy())
    seconds = time.perf_counter() - since
    idle, _ = await _longest_turn(asyncio.sleep(seconds))
    yield Row.of("longest turn of the loop, own time (5 ms)", case, own * 1e3, "ms", 5)
    yield Row.of("longest turn of the loop beside idle", case, wall * 1e3, "ms", idle * 1e3)
    yield Row.of("memory after removals and additions", case, storage.nbytes / 2**20, "MiB", before / 2**20)
    yield Row.of("removal and addition beside searches", case, seconds / CHURNED * 1e6, "µs", 100)


async def _longest_turn(work: Coroutine[object, object, object]) -> tuple[float, float]:
    """Seconds of the loop's longest turn during the work: by the clock, and of its thread's own time, which
    does not count what other programs took."""
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


async def measure_galleries(number: int, faces: int, size: int) -> AsyncIterator[Row]:
    """Many small galleries instead of one large one."""
    case = f"{number} galleries of {faces}"
    owner, vectors = ObjectId(), made("random", faces, size)
    storage = LocalFacens(size)
    since = time.perf_counter()
    for gallery in range(number):
        await storage.add_many(owner, f"g{gallery}", enumerate(vectors))
    each = (time.perf_counter() - since) / number / faces
    raw = number * vectors.nbytes
    yield Row.of("add one (at most 100 µs)", case, each * 1e6, "µs", 100)
    yield Row.of("memory beside the raw facens", case, storage.nbytes / 2**20, "MiB", raw / 2**20)
    alone = LocalFacens(size)
    await alone.add_many(owner, "g0", enumerate(vectors))

    async def search(where: FacenStorage) -> None:
        for _ in range(100):
            await where.search(owner, "g0", vectors[3], LIMIT, THRESHOLD)

    many, one = await fastest_of([lambda: search(storage), lambda: search(alone)])
    yield Row.of("search in one beside one alone", case, many * 10, "ms", one * 10)


async def measure_server(storage: FacenStorage, kind: Kind, count: int, size: int) -> AsyncIterator[Row]:
    """A storage on a server, beside the one in memory. What is brought there is removed again."""
    case = f"{kind} {count}×{size}"
    owner, vectors, local = ObjectId(), made(kind, count, size), LocalFacens(size)
    await local.add_many(owner, GALLERY, enumerate(vectors))
    try:
        since = time.perf_counter()
        await storage.add_many(owner, GALLERY, enumerate(vectors))
        seconds = time.perf_counter() - since
        yield Row.of("server: add one of many", case, seconds / count * 1e6, "µs", 100)
        query = vectors[count // 2]
        there, here = await fastest_of(
            [
                lambda: storage.search(owner, GALLERY, query, LIMIT, THRESHOLD),
                lambda: local.search(owner, GALLERY, query, LIMIT, THRESHOLD),
            ]
        )
        yield Row.of("server: search beside local", case, there * 1e3, "ms", here * 1e3)
        found = await storage.search(owner, GALLERY, query, 1, THRESHOLD)
        same = [hit.id for hit in found.hits] == [count // 2]
        yield Row.of("server: the nearest is found", case, float(same), "", 1)
    finally:
        await storage.drop(owner, GALLERY)


def _faiss(vectors: Floats, query: Floats) -> Callable[[], Awaitable[None]] | None:
    if importlib.util.find_spec("faiss") is None:
        return None
    import faiss  # a tool for measuring, not one of Facend's packages

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    row = query[None]

    async def search() -> None:
        index.search(row, LIMIT)

    return search


def curves(rows: list[Row], figures: dict[str, str]) -> Iterator[tuple[str, list[float], list[float]]]:
    """For each figure and kind of facens a line over the number of facens."""
    for figure, name in figures.items():
        groups: dict[str, list[tuple[int, float]]] = {}
        for row in rows:
            kind, _, shape = row.case.partition(" ")
            if row.figure == figure and "×" in shape:
                count, _, size = shape.partition("×")
                groups.setdefault(f"{name}, {kind} {size}-d", []).append((int(count), row.value))
        for label, points in groups.items():
            points.sort()
            yield label, [float(count) for count, _ in points], [value for _, value in points]

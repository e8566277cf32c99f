"""Benchmarks of the facen storage: speed, memory and accuracy.

Facens are generated: `random` ones are unrelated; `clustered` ones belong to people with twenty faces each,
whose cosines to each other are about 0.7, as in a day at a door.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Literal

import numpy as np
from bson import ObjectId
from numpy.typing import NDArray

from daemon.benchmarks.facens_churn import longest_block, measure_churn
from daemon.benchmarks.measurements import Row, fastest_of, fastest_timings
from store.facens import FacenStorage, LocalFacens
from store.facens.engine.gallery_array import Precision

Distribution = Literal["random", "clustered"]
Floats = NDArray[np.float32]

GALLERY = "g"
GALLERIES = " galleries of "
QUERIES = 32
LIMIT = 10
THRESHOLD = 0.75
FACES_OF_A_PERSON = 20
PERSON_COSINE = 0.7
"""Cosine of two faces of one person."""
PROBES = 1000
HALF_PRECISION_ERROR = 1e-4
"""Expected deviation of a confidence in half precision."""


def random_facens(kind: Distribution, count: int, size: int, seed: int = 0) -> Floats:
    """(count, size), float32, normalised."""
    rng = np.random.default_rng(seed)
    if kind == "random":
        return _unit(rng.standard_normal((count, size), dtype=np.float32))
    people = _unit(rng.standard_normal((max(1, count // FACES_OF_A_PERSON), size), dtype=np.float32))
    aside = _unit(rng.standard_normal((count, size), dtype=np.float32))
    # Random directions in many dimensions are nearly orthogonal.
    person = people[rng.integers(0, len(people), count)]
    mixed = np.sqrt(PERSON_COSINE) * person + np.sqrt(1 - PERSON_COSINE) * aside
    return _unit(mixed.astype(np.float32))


def other_pictures(vectors: Floats) -> list[Floats]:
    """Facens as of other pictures of the same people."""
    count, size = vectors.shape
    aside = random_facens("random", count, size, 9)
    return list(_unit((PERSON_COSINE * vectors + np.sqrt(1 - PERSON_COSINE**2) * aside).astype(np.float32)))


def _unit(vectors: Floats) -> Floats:
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


async def measure_local(kind: Distribution, count: int, size: int) -> AsyncIterator[Row]:
    """The storage in memory, with one gallery of `count` facens."""
    case = f"{kind} {count}×{size}"
    owner, vectors = ObjectId(), random_facens(kind, count, size)
    storage = LocalFacens(size)
    since = time.perf_counter()
    _, own = await longest_block(storage.add_many(owner, GALLERY, enumerate(vectors)))
    seconds = time.perf_counter() - since
    yield Row.compare("add one (at most 100 µs)", case, seconds / count * 1e6, "µs", 100)
    yield Row.compare("longest block of the loop while adding", case, own * 1e3, "ms", 5)
    yield Row.compare(
        "memory vs. raw facens", case, (await storage.memory()) / 2**20, "MiB", vectors.nbytes / 2**20
    )
    query = vectors[count // 2]

    async def search() -> None:
        await storage.search(owner, GALLERY, query, LIMIT, THRESHOLD)

    plain = np.empty(count, dtype=np.float32)

    def search_numpy() -> None:
        np.dot(vectors, query, out=plain)
        np.argpartition(plain, count - LIMIT)[-LIMIT:]

    def read() -> None:
        vectors.view(np.int32).max()

    def threaded(work: Callable[[], object]) -> Callable[[], Awaitable[object]]:
        """Run in a thread, as an event loop must, for a fair comparison."""
        return lambda: asyncio.to_thread(work)

    rivals = [("numpy", search_numpy), ("faiss.IndexFlatIP", _faiss(vectors, query))]
    ours, reading, *others = await fastest_timings(
        [search, *map(threaded, (read, *(work for _, work in rivals)))]
    )
    for (name, _), taken in zip(rivals, others, strict=True):
        yield Row.compare(f"search vs. {name}", case, ours.seconds * 1e3, "ms", taken.seconds * 1e3)
        yield Row.compare(
            f"search vs. {name}, own time", case, ours.cpu_seconds * 1e3, "ms", taken.cpu_seconds * 1e3
        )
    for suffix, seconds, beside in (
        ("", ours.seconds, reading.seconds),
        (", own time", ours.cpu_seconds, reading.cpu_seconds),
    ):
        speeds = [vectors.nbytes / least / 1e9 for least in (seconds, beside)]
        yield Row.compare(f"search vs. reading memory{suffix}", case, speeds[0], "GB/s", speeds[1])
    queries = list(vectors[:QUERIES])
    many, alone = await fastest_of(
        [lambda: storage.search_many(owner, GALLERY, queries, LIMIT, THRESHOLD), search], 5
    )
    yield Row.compare(f"a query of {QUERIES} vs. one alone", case, many / QUERIES * 1e3, "ms", alone * 1e3)
    async for row in _filtered(storage, owner, query, count, case, search):
        yield row
    async for row in _half(owner, vectors, case, storage, search):
        yield row
    async for row in measure_churn(storage, owner, GALLERY, vectors, case):
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
        allowed = np.sort(rng.choice(count, number, replace=False))  # sorted, as in a search with filters

        async def filtered(allowed: NDArray[np.int64] = allowed) -> None:
            await storage.search(owner, GALLERY, query, LIMIT, THRESHOLD, allowed)

        some, all_ = await fastest_timings([filtered, unfiltered], 5)
        name = f"search among {what} vs. all"
        yield Row.compare(name, case, some.seconds * 1e3, "ms", all_.seconds * 1e3)
        yield Row.compare(f"{name}, own time", case, some.cpu_seconds * 1e3, "ms", all_.cpu_seconds * 1e3)


async def _half(
    owner: ObjectId, vectors: Floats, case: str, full: LocalFacens, search_full: Callable[[], Awaitable[None]]
) -> AsyncIterator[Row]:
    half = LocalFacens(vectors.shape[1], precision=Precision.HALF)
    await half.add_many(owner, GALLERY, enumerate(vectors))
    query = vectors[len(vectors) // 2]

    async def search_half() -> None:
        await half.search(owner, GALLERY, query, LIMIT, THRESHOLD)

    some, all_ = await fastest_of([search_half, search_full], 5)
    yield Row.compare("half precision: search vs. full", case, some * 1e3, "ms", all_ * 1e3)
    yield Row.compare(
        "half precision: memory vs. full",
        case,
        (await half.memory()) / 2**20,
        "MiB",
        (await full.memory()) / 2**20,
    )
    probes = _unit(vectors[:QUERIES] + 0.05 * random_facens("random", QUERIES, vectors.shape[1], 9))
    exact = await full.search_many(owner, GALLERY, list(probes), 1, 0)
    near = await half.search_many(owner, GALLERY, list(probes), 1, 0)
    same = sum(mine.hits[0].id == theirs.hits[0].id for mine, theirs in zip(near, exact, strict=True))
    off = max(
        abs(mine.hits[0].confidence - theirs.hits[0].confidence)
        for mine, theirs in zip(near, exact, strict=True)
    )
    yield Row.compare("half precision: the same nearest", case, same, "of 32", len(probes))
    yield Row.compare("half precision: confidence off by", case, off, "", HALF_PRECISION_ERROR)


async def measure_galleries(number: int, faces: int, size: int) -> AsyncIterator[Row]:
    """Many small galleries instead of one large one."""
    case = f"{number}{GALLERIES}{faces}×{size}"
    owner, vectors = ObjectId(), random_facens("random", faces, size)
    storage = LocalFacens(size)
    since = time.perf_counter()
    for gallery in range(number):
        await storage.add_many(owner, f"g{gallery}", enumerate(vectors))
    each = (time.perf_counter() - since) / number / faces
    raw = number * vectors.nbytes
    yield Row.compare("add one (at most 100 µs)", case, each * 1e6, "µs", 100)
    yield Row.compare("memory vs. raw facens", case, (await storage.memory()) / 2**20, "MiB", raw / 2**20)
    alone = LocalFacens(size)
    await alone.add_many(owner, "g0", enumerate(vectors))

    async def search(where: FacenStorage) -> None:
        for _ in range(100):
            await where.search(owner, "g0", vectors[3], LIMIT, THRESHOLD)

    many, one = await fastest_of([lambda: search(storage), lambda: search(alone)])
    yield Row.compare("search in one vs. one alone", case, many * 10, "ms", one * 10)


async def measure_server(
    storage: FacenStorage, kind: Distribution, count: int, size: int
) -> AsyncIterator[Row]:
    """A storage on a server, compared with the one in memory. Removes what it added."""
    case = f"{kind} {count}×{size}"
    owner, vectors, local = ObjectId(), random_facens(kind, count, size), LocalFacens(size)
    await local.add_many(owner, GALLERY, enumerate(vectors))
    try:
        since = time.perf_counter()
        await storage.add_many(owner, GALLERY, enumerate(vectors))
        seconds = time.perf_counter() - since
        yield Row.compare("server: add one of many", case, seconds / count * 1e6, "µs", 100)
        query = vectors[count // 2]
        there, here = await fastest_of(
            [
                lambda: storage.search(owner, GALLERY, query, LIMIT, THRESHOLD),
                lambda: local.search(owner, GALLERY, query, LIMIT, THRESHOLD),
            ]
        )
        yield Row.compare("server: search vs. local", case, there * 1e3, "ms", here * 1e3)
        queries = list(vectors[:QUERIES])
        there, here = await fastest_of(
            [
                lambda: storage.search_many(owner, GALLERY, queries, LIMIT, THRESHOLD),
                lambda: local.search_many(owner, GALLERY, queries, LIMIT, THRESHOLD),
            ],
            5,
        )
        name = f"server: a query of {QUERIES} vs. local"
        yield Row.compare(name, case, there / QUERIES * 1e3, "ms", here / QUERIES * 1e3)
        probes = other_pictures(vectors[:: max(1, count // PROBES)][:PROBES])
        exact = await local.search_many(owner, GALLERY, probes, 1, 0)
        found = await storage.search_many(owner, GALLERY, probes, 1, 0)
        same = sum(
            [hit.id for hit in mine.hits] == [hit.id for hit in theirs.hits]
            for mine, theirs in zip(found, exact, strict=True)
        )
        yield Row.compare("server: recall@1 vs. exact", case, same / len(probes), "", 1)
    finally:
        await storage.drop(owner, GALLERY)


def _faiss(vectors: Floats, query: Floats) -> Callable[[], object]:
    import faiss  # its import takes 0.1 s

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return lambda: index.search(query[None], LIMIT)


def curves(rows: list[Row], figures: dict[str, str]) -> Iterator[tuple[str, list[float], list[float]]]:
    """For each figure and distribution, or size of galleries, a curve over the number of facens."""
    for figure, name in figures.items():
        groups: dict[str, list[tuple[int, float]]] = {}
        for row in rows:
            if row.figure != figure:
                continue
            number, _, faces = row.case.partition(GALLERIES)
            kind, _, shape = row.case.partition(" ")
            count, _, size = (faces or shape).partition("×")
            label = f"galleries of {count}, {size}-d" if faces else f"{kind} {size}-d"
            total = int(number) * int(count) if faces else int(count)
            groups.setdefault(f"{name}, {label}", []).append((total, row.value))
        for label, points in groups.items():
            points.sort()
            yield label, [float(count) for count, _ in points], [value for _, value in points]

"""Speed and recall of the approximate search in memory."""

import time
from collections.abc import AsyncIterator
from itertools import cycle

from bson import ObjectId

from daemon.benchmarks.facens import (
    GALLERY,
    LIMIT,
    PROBES,
    THRESHOLD,
    Distribution,
    other_pictures,
    random_facens,
)
from daemon.benchmarks.measurements import Row, fastest_timings
from store.facens import LocalFacens


async def measure_approximate(kind: Distribution, count: int, size: int) -> AsyncIterator[Row]:
    """Compare with the exact search in the same gallery; queries are other pictures of people in it."""
    case = f"{kind} {count}×{size}"
    owner, vectors = ObjectId(), random_facens(kind, count, size)
    probes = other_pictures(vectors[:: max(1, count // PROBES)][:PROBES])
    exact, near = LocalFacens(size), LocalFacens(size, approximate_from=count)
    for storage in (exact, near):
        await storage.add_many(owner, GALLERY, enumerate(vectors))
    raw = vectors.nbytes / 2**20
    del vectors
    since = time.perf_counter()
    await near.search_many(owner, GALLERY, probes, 1, THRESHOLD)  # builds the codes
    searched = time.perf_counter()
    await near.approximations.ready()
    yield Row.compare("approximate: codes made", case, time.perf_counter() - searched, "s", searched - since)
    yield Row.compare("approximate: memory vs. raw facens", case, (await near.memory()) / 2**20, "MiB", raw)
    queries = cycle(probes)

    async def search(storage: LocalFacens) -> None:
        await storage.search(owner, GALLERY, next(queries), LIMIT, THRESHOLD)

    some, all_ = await fastest_timings([lambda: search(near), lambda: search(exact)])
    name = "approximate: search vs. exact"
    yield Row.compare(name, case, some.seconds * 1e3, "ms", all_.seconds * 1e3)
    yield Row.compare(f"{name}, own time", case, some.cpu_seconds * 1e3, "ms", all_.cpu_seconds * 1e3)
    expected = await exact.search_many(owner, GALLERY, probes, 1, THRESHOLD)
    same = 0
    for probe, right in zip(probes, expected, strict=True):
        found = await near.search(owner, GALLERY, probe, 1, THRESHOLD)
        same += [hit.id for hit in found.hits] == [hit.id for hit in right.hits]
    yield Row.compare("approximate: recall@1 vs. exact", case, same / len(probes), "", 1)
    await near.close()

"""Duration of the start, from a snapshot and from MongoDB alone."""

import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

from bson import ObjectId

from daemon.benchmarks.facens import Distribution, random_facens
from daemon.benchmarks.measurements import Row
from pipeline.faces.facen import encode
from store import Context, StoreSettings

PACK = "benchmark"
INSERT_AT_ONCE = 2000


async def measure_start(kind: Distribution, count: int, size: int) -> AsyncIterator[Row]:
    """Start on a private MongoDB in a temporary folder."""
    case = f"{kind} {count}×{size}"
    with tempfile.TemporaryDirectory(prefix="facend-", ignore_cleanup_errors=True) as folder:

        async def start() -> float:
            """Seconds to load the facens into a new context."""
            async with Context.open(
                StoreSettings(), data_dir=Path(folder), facen_size=size, pack=PACK, load_facens=False
            ) as ctx:
                since = time.perf_counter()
                async with ctx.facens_lifecycle.running(follow=True):
                    seconds = time.perf_counter() - since
                    held = sum(shard.facens for shard in await ctx.facens.health())
                    if held != count:
                        raise RuntimeError(f"{held} facens came in, not {count}")
                    await ctx.facens_lifecycle.save()
                return seconds

        async with Context.open(StoreSettings(), data_dir=Path(folder), load_facens=False) as ctx:
            user = await ctx.users.add({})
            await ctx.galleries.ensure(user, "g")
            vectors = random_facens(kind, count, size)
            for first in range(0, count, INSERT_AT_ONCE):
                documents = [
                    {
                        "_id": (1 << 40) + number,
                        "owner": user["_id"],
                        "gallery": ["g"],
                        "schema": 1,
                        "facen": encode(vectors[number]),
                        "score": -0.5,
                        "photo_hash": str(ObjectId()),
                    }
                    for number in range(first, min(first + INSERT_AT_ONCE, count))
                ]
                await ctx.database["faces"].insert_many(documents, ordered=False)
        rebuilt = await start()
        from_snapshot = min([await start() for _ in range(2)])
    yield Row.compare("start from a snapshot vs. MongoDB", case, from_snapshot, "s", rebuilt)

"""Comparing all persons with each other, as each night does: time, memory, and how late the event loop is.

python -m tests.bench.bench_evidence [--json] [--persons 100000] [--references 8] [--size 128]

The baseline is the product of all persons' means alone, by numpy, in the same minute.
"""

import asyncio
import resource
import sys
import tempfile
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import structlog
from bson import ObjectId

from daemon.runtime.event_loop import measure_lag
from daemon.service import SWITCH_SECONDS
from pipeline.faces.facen import encode
from store import Context, StoreSettings, User
from store.identity.evidence import EvidenceRules, PersonEvidence
from store.identity.references import ReferenceRules
from store.settings import REFERENCES
from tests.bench.rows import Row, arguments, show

AT_ONCE = 8_000
DOUBLES = 200
"""Pairs of persons who are one."""
RULES = EvidenceRules(threshold=0.75, strong=0.8)
EVERY_SECONDS = 0.01


async def measure(persons: int, references: int, size: int) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="facend-", ignore_cleanup_errors=True) as folder:
        async with Context.open(StoreSettings(), data_dir=Path(folder), load_facens=False) as ctx:
            user = await ctx.users.add({})
            await ctx.galleries.ensure(user, REFERENCES)
            looks = await fill(ctx, user, persons, references, size)
            late: list[float] = []
            lag = asyncio.create_task(measure_lag(late.append, EVERY_SECONDS))
            before, since, own = peak_mib(), perf_counter(), process_time()
            evidence = PersonEvidence(ctx, user, RULES, ReferenceRules())
            found = [proposal async for proposal in evidence.find_proposals()]
            seconds, own, memory = perf_counter() - since, process_time() - own, peak_mib() - before
            lag.cancel()
            since, bare_own = perf_counter(), process_time()
            await asyncio.to_thread(products, looks)
            bare, bare_own = perf_counter() - since, process_time() - bare_own
    case = f"{persons:,} × {references} × {size}"
    what = "compare persons"
    return [
        Row.compare(f"{what}: time", case, seconds, "s", bare),
        Row.compare(f"{what}: processor time", case, own, "s", bare_own),
        Row.compare(f"{what}: more memory", case, memory, "MiB", 0),
        Row.compare(f"{what}: event loop late, p99", case, float(np.quantile(late, 0.99)) * 1000, "ms", 0),
        Row.compare(f"{what}: event loop late, most", case, max(late) * 1000, "ms", 0),
        Row.compare(f"{what}: doubles found", case, len(found), "pairs", min(DOUBLES, persons // 2)),
    ]


async def fill(ctx: Context, user: User, persons: int, references: int, size: int) -> np.ndarray[Any, Any]:
    """Persons with a visit for each reference; the last ones look like the first ones."""
    rng = np.random.default_rng(1)
    looks = unit(rng.standard_normal((persons, size), dtype=np.float32))
    doubles = min(DOUBLES, persons // 2)
    looks[persons - doubles :] = looks[:doubles]
    for start in range(0, persons * references, AT_ONCE):
        ids = np.arange(start, min(start + AT_ONCE, persons * references))
        aside = unit(rng.standard_normal((len(ids), size), dtype=np.float32))
        facens = unit(looks[ids // references] + np.float32(0.5) * aside)
        entries = [(int(one) + 1, facen) for one, facen in zip(ids, facens, strict=True)]
        documents = [document(user["_id"], key, key_of(key, references), facen) for key, facen in entries]
        await ctx.database["faces"].insert_many(documents, ordered=False)
        await ctx.facens.add_many(user["_id"], REFERENCES, entries)
    return looks


def key_of(face_id: int, references: int) -> int:
    return 1 + (face_id - 1) // references


def document(owner: ObjectId, face_id: int, person: int, facen: np.ndarray[Any, Any]) -> dict[str, Any]:
    url = f"file:///var/lib/facend/uploads/{owner}/20260101/{face_id}_0123456789ab"
    return {
        "_id": face_id,
        "owner": owner,
        "facen": encode(facen),
        "x1": 1.0,
        "y1": 1.0,
        "x2": 99.0,
        "y2": 99.0,
        "score": -1.0,
        "photo_hash": "0" * 32,
        "gallery": ["default", REFERENCES],
        "person_id": person,
        "cam_id": "door",
        "meta": None,
        "photo": f"{url}_photo.jpeg",
        "thumbnail": f"{url}_thumb.jpeg",
        "normalized": f"{url}_norm.png",
        "detector_info": {"pack": "opencv-zoo", "visit_id": f"visit-{face_id}", "shots": 4},
        "schema": 1,
    }


def unit(vectors: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def products(looks: np.ndarray[Any, Any]) -> None:
    for start in range(0, len(looks), 512):
        (looks[start : start + 512] @ looks[start:].T).max()


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--persons", type=int, default=100_000)
    parser.add_argument("--references", type=int, default=8)
    parser.add_argument("--size", type=int, default=128)
    given = parser.parse_args()
    sys.setswitchinterval(SWITCH_SECONDS)  # as the daemon has it
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    show(asyncio.run(measure(given.persons, given.references, given.size)), as_json=given.json)


if __name__ == "__main__":
    main()

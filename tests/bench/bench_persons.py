"""What a sighting costs to store when few or many persons are known; they take turns in one MongoDB.

python -m tests.bench.bench_persons [--json] [--rounds 40] [--persons 10 1000 100000]
"""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from itertools import count
from pathlib import Path
from statistics import median
from time import perf_counter, time
from typing import Any

import structlog

from pipeline.faces.facen import encode
from store import Context, StoreSettings, User
from store.mongo.ids import TimeOrderedIds
from store.observer import UnobservedStore
from store.spool.recording import Recording
from tests.bench.rows import Row, arguments, show
from tests.sightings import RECORDING, person_facen, sighting

AT_ONCE = 5_000


async def measure(rounds: int, numbers: list[int]) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="facend-", ignore_cleanup_errors=True) as folder:
        async with Context.open(StoreSettings(), data_dir=Path(folder), load_facens=False) as ctx:
            users = [await ctx.users.add({}) for _ in numbers]
            stores = [Recording(ctx, user, RECORDING, UnobservedStore()) for user in users]
            for user, store, number in zip(users, stores, numbers, strict=True):
                await fill(ctx, user, store, number)
            looks = count(1)

            async def known(which: int) -> None:
                look = next(looks)
                person = 1 + look % numbers[which]
                stored = await stores[which].record(f"known {look}", sighting(person, look))
                assert stored.outcome == "matched"

            async def new(which: int) -> None:
                person = max(numbers) + next(looks)
                stored = await stores[which].record(f"new {person}", sighting(person))
                assert stored.outcome == "created"

            rows = list(await compared(rounds, numbers, "of a known person", known))
            return rows + list(await compared(rounds, numbers, "of a new person", new))


async def compared(
    rounds: int, numbers: list[int], what: str, work: Callable[[int], Awaitable[None]]
) -> Iterator[Row]:
    """Medians over rounds in which all take turns, each as often the first."""
    seconds: list[list[float]] = [[] for _ in numbers]
    for turn in range(rounds):
        for place in range(len(numbers)):
            which = (turn + place) % len(numbers)
            since = perf_counter()
            await work(which)
            seconds[which].append(perf_counter() - since)
    least = median(seconds[0]) * 1000
    return (
        Row.compare(
            f"store a sighting {what}", f"{number:,} persons known", median(taken) * 1000, "ms", least
        )
        for number, taken in zip(numbers, seconds, strict=True)
    )


async def fill(ctx: Context, user: User, store: Recording, number: int) -> None:
    """So many persons with a face each: the first is recorded, the others are written as it was."""
    first = await store.record("first", sighting(1))
    faces, persons = ctx.database["faces"], ctx.database["persons"]
    face: dict[str, Any] = await faces.find_one({"_id": first.face_id}) or {}
    person: dict[str, Any] = await persons.find_one({"owner": user["_id"]}) or {}
    for document in (face, person):
        document.pop("sighting_id")
    person.pop("founding")  # they are not being made just now
    month_ago = round((time() - 30 * 86400) * 1000)
    ids = TimeOrderedIds(lambda: month_ago)
    offset = person["_id"] - 1
    for start in range(2, number + 1, AT_ONCE):
        part = range(start, min(start + AT_ONCE, number + 1))
        made = [(ids.next(), person_facen(one), offset + one) for one in part]
        await faces.insert_many(
            [{**face, "_id": key, "facen": encode(facen), "person_id": who} for key, facen, who in made]
        )
        await persons.insert_many([{**person, "_id": who} for _, _, who in made])
        for gallery in face["gallery"]:
            await ctx.facens.add_many(user["_id"], gallery, ((key, facen) for key, facen, _ in made))
    await ctx.database["counters"].update_many({}, {"$max": {"seq": offset + number}})


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--persons", type=int, nargs="+", default=[10, 1000, 100_000])
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    show(asyncio.run(measure(given.rounds, given.persons)), as_json=given.json)


if __name__ == "__main__":
    main()

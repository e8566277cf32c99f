"""What the store costs beside bare Motor: the same documents into and out of the same MongoDB, in one run.

python -m tests.bench.bench_store [--json] [--rounds 30]
"""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from bson import ObjectId

from store import Context, StoreSettings, User
from store.mongo.indexes import INDEXES
from tests.bench.rows import Row, arguments, compared, show
from tests.facens import face, person_facen

BATCH = 50
"""Operations in a turn."""
FOUND = (1, 100)
"""Faces that a search finds."""


async def measure(rounds: int) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="facend-", ignore_cleanup_errors=True) as folder:
        async with Context.open(StoreSettings(), data_dir=Path(folder), load_facens=False) as ctx:
            user = await ctx.users.add({})
            rows = [await _add(ctx, user, rounds, at_once) for at_once in (1, 16)]
            return rows + [await _find(ctx, user, rounds, number) for number in FOUND]


async def _add(ctx: Context, user: User, rounds: int, at_once: int) -> Row:
    """One face after the other, or several tasks at once."""
    bare_faces = ctx.database["bare"]
    await bare_faces.create_indexes(list(INDEXES["faces"]))  # both keep the same
    facen = person_facen(1)
    stored = (await ctx.faces.add(user, face(facen))).document()

    ready = [face(facen) for _ in range(BATCH * rounds)]

    async def add() -> None:
        await ctx.faces.add(user, ready.pop())

    async def insert() -> None:
        await bare_faces.insert_one({**stored, "_id": ObjectId()})

    ours, bare, ratio = await compared(rounds, _repeated(add, at_once), _repeated(insert, at_once))
    case = "one after the other" if at_once == 1 else f"{at_once} at once"
    return Row("Faces.add", case, ours / BATCH * 1000, "ms", bare / BATCH * 1000, ratio)


async def _find(ctx: Context, user: User, rounds: int, number: int) -> Row:
    """By person and owner, through the same index."""
    for _ in range(number):
        await ctx.faces.add(user, face(person_facen(number), person_id=number))
    faces = ctx.database["faces"]

    async def find() -> None:
        assert len(await ctx.faces.find(user, {"person_id": number})) == number

    async def bare_find() -> None:
        query = {"owner": user["_id"], "person_id": number}
        assert len(await faces.find(query).to_list(None)) == number

    ours, bare, ratio = await compared(rounds, _repeated(find), _repeated(bare_find))
    return Row("Faces.find", f"{number} found", ours / BATCH * 1000, "ms", bare / BATCH * 1000, ratio)


def _repeated(work: Callable[[], Awaitable[None]], at_once: int = 1) -> Callable[[], Awaitable[None]]:
    async def repeat() -> None:
        for start in range(0, BATCH, at_once):
            await asyncio.gather(*(work() for _ in range(min(at_once, BATCH - start))))

    return repeat


def main() -> None:
    parser = arguments("the cost of the store beside bare Motor")
    parser.add_argument("--rounds", type=int, default=30)
    given = parser.parse_args()
    show(asyncio.run(measure(given.rounds)), as_json=given.json)


if __name__ == "__main__":
    main()

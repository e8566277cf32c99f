"""`facend bench`: what this machine can do."""

import asyncio
import gc
import math
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import ClassVar, Literal

import click
from pydantic import SecretStr, ValidationError

from daemon.benchmarks.facens import Kind, curves, measure_galleries, measure_local, measure_server
from daemon.benchmarks.facens_approximate import measure_approximate
from daemon.benchmarks.facens_start import measure_start
from daemon.benchmarks.rows import Row, table
from daemon.cli import secrets as cli_secrets
from daemon.cli.lazy import LazyGroup, Room
from daemon.cli.options import json_option
from daemon.cli.store import as_json as to_json
from daemon.errors import StartError
from daemon.evaluation.plot import Axis, Plot
from daemon.runtime import logs
from store import FacensSettings, StoreError
from store.facens.sync.factory import open_storage

SMALLEST = 2000
"""So many faces are removed and added again."""
KINDS: tuple[Kind, ...] = ("random", "clustered")
Index = Literal["exact", "hnsw"]
INDEXES: tuple[Index, ...] = ("exact", "hnsw")
DRAWN = {
    "search beside numpy": "search, ms",
    "search in one beside one alone": "search in one gallery, ms",
    "add one (at most 100 µs)": "add a thousand, ms",
    "longest turn of the loop, own time (5 ms)": "longest turn of the loop, ms",
}


@dataclass(frozen=True, slots=True)
class _Wanted:
    sizes: tuple[int, ...]
    numbers: tuple[int, ...]
    kinds: tuple[Kind, ...]
    galleries: int
    start: bool
    milvus: str
    index: Index


class _Lines:
    """A table that grows by a line when a row is measured."""

    def __init__(self) -> None:
        self._begun = False

    def show(self, row: Row) -> None:
        header, line = table([row]).splitlines()
        click.echo(line if self._begun else f"{header}\n{line}")
        self._begun = True


class Bench(LazyGroup):
    """Measuring cameras needs the models, which take a second to import."""

    rooms: ClassVar = {
        "cameras": Room(
            "daemon.cli.bench_cameras", "How many cameras the daemon keeps up with, at what cost."
        ),
    }


@click.group(cls=Bench)
def bench() -> None:
    """What this machine can do, beside the plainest way to do the same."""


@bench.command("facens")
@json_option
@click.option(
    "--size",
    "sizes",
    type=click.IntRange(SMALLEST),
    multiple=True,
    default=(10_000, 100_000),
    show_default=True,
)
@click.option(
    "--numbers",
    type=click.IntRange(8, 4096),
    multiple=True,
    default=(128,),
    show_default=True,
    help="How many numbers a facen has.",
)
@click.option("--kind", "kinds", type=click.Choice(KINDS), multiple=True, default=KINDS, show_default=True)
@click.option("--galleries", type=click.IntRange(0), default=1000, show_default=True, help="Of 100 faces.")
@click.option("--start", is_flag=True, help="Also starts, with a MongoDB of its own.")
@click.option("--milvus", metavar="URL", default="", help="Also a Milvus server.")
@click.option(
    "--index", type=click.Choice(INDEXES), default="exact", show_default=True, help="Of the Milvus server."
)
@click.option("--png", type=click.Path(path_type=Path, dir_okay=False), help="Draw how it grows.")
def facens(
    as_json: bool,
    sizes: tuple[int, ...],
    numbers: tuple[int, ...],
    kinds: tuple[Kind, ...],
    galleries: int,
    start: bool,
    milvus: str,
    index: Index,
    png: Path | None,
) -> None:
    """The facen storage: speed, memory, exactness, and how they grow.

    Threads are those of the environment: OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 for one.
    """
    if png is not None and len(set(sizes)) < 2:
        raise StartError("--png needs two sizes or more: a curve has two points")
    logs.configure("console", "warning")
    milvus = cli_secrets.argument(milvus, "--milvus") if milvus else ""
    asked = _Wanted(sizes, numbers, kinds, galleries, start, milvus, index)
    rows = asyncio.run(_measured(asked, (lambda _: None) if as_json else _Lines().show))
    if as_json:
        click.echo(to_json([asdict(row) for row in rows]))
    if png is not None:
        _draw(rows, png)


async def _measured(asked: _Wanted, show: Callable[[Row], None]) -> list[Row]:
    gc.freeze()  # as the daemon does, see `daemon.service.ready`
    rows = []
    async for row in _all(asked):
        show(row)
        rows.append(row)
    return rows


async def _all(asked: _Wanted) -> AsyncIterator[Row]:
    for size, count, kind in product(asked.numbers, sorted(asked.sizes), asked.kinds):
        measures = [measure_local(kind, count, size), measure_approximate(kind, count, size)]
        if asked.start:
            measures.append(measure_start(kind, count, size))
        if asked.milvus:
            measures.append(_server(asked, kind, count, size))
        for measure in measures:
            async for row in measure:
                yield row
    numbers = [number for part in (100, 10, 1) if (number := asked.galleries // part)]
    for size, number in product(asked.numbers, numbers):
        async for row in measure_galleries(number, 100, size):
            yield row


async def _server(asked: _Wanted, kind: Kind, count: int, size: int) -> AsyncIterator[Row]:
    try:
        settings = FacensSettings(url=SecretStr(asked.milvus), index=asked.index)
        storage = await open_storage(settings, size, None)
        try:
            async for row in measure_server(storage, kind, count, size):
                yield row
        finally:
            await storage.close()
    except (StoreError, ValidationError) as error:
        raise StartError(f"--milvus: {error}") from error


def _draw(rows: list[Row], path: Path) -> None:
    lines = list(curves(rows, DRAWN))
    across = [count for _, xs, _ in lines for count in xs]
    upright = [value for _, _, ys in lines for value in ys]
    plot = Plot("The facen storage in memory", _decades("facens", across), _decades("ms", upright))
    for name, xs, ys in lines:
        plot.line(name, xs, ys)
    plot.png("top left").save(path)


def _decades(label: str, values: list[float]) -> Axis:
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    high = max(high, low + 1)
    ticks = tuple((10.0**power, _written(power)) for power in range(low, high + 1))
    return Axis(label, 10.0**low, 10.0**high, ticks, log=True)


def _written(power: int) -> str:
    return f"{10 ** (power - 6):,} M" if power >= 6 else f"{10.0**power:,g}"


COMMANDS = (bench,)

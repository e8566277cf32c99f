"""`facend bench`: benchmarks of this machine."""

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

from daemon.benchmarks.facens import Distribution, curves, measure_galleries, measure_local, measure_server
from daemon.benchmarks.facens_approximate import measure_approximate
from daemon.benchmarks.facens_start import measure_start
from daemon.benchmarks.measurements import Row, table
from daemon.cli import secrets as cli_secrets
from daemon.cli.groups import CommandGroup, LazyCommand
from daemon.cli.options import json_option
from daemon.cli.output import to_json
from daemon.errors import StartError
from daemon.evaluation.plot import Axis, Plot
from daemon.runtime import logs
from store import FacensSettings, StoreError
from store.facens.sync.factory import open_storage

MIN_FACES = 2000
"""Minimum size of a gallery, because the benchmark removes and adds this number of faces."""
KINDS: tuple[Distribution, ...] = ("random", "clustered")
Index = Literal["exact", "hnsw"]
INDEXES: tuple[Index, ...] = ("exact", "hnsw")
PLOTTED = {
    "search vs. numpy": "search, ms",
    "search in one vs. one alone": "search in one gallery, ms",
    "add one (at most 100 µs)": "add a thousand, ms",
    "longest block of the loop, own time (5 ms)": "longest block of the loop, ms",
}


@dataclass(frozen=True, slots=True)
class _SearchPlan:
    sizes: tuple[int, ...]
    numbers: tuple[int, ...]
    kinds: tuple[Distribution, ...]
    galleries: int
    start: bool
    milvus: str
    index: Index


class _GrowingTable:
    """Prints a table row by row, as they are measured."""

    def __init__(self) -> None:
        self._has_header = False

    def show(self, row: Row) -> None:
        header, line = table([row]).splitlines()
        click.echo(line if self._has_header else f"{header}\n{line}")
        self._has_header = True


class Bench(CommandGroup):
    """Imports the benchmark of cameras on use: it needs the models, whose import takes a second."""

    lazy_commands: ClassVar = {
        "cameras": LazyCommand(
            "daemon.cli.bench_cameras",
            "Measure how many cameras the daemon can process, and the cost of each.",
        ),
    }


@click.group(cls=Bench)
def bench() -> None:
    """Measure how fast this machine is.

    Results are compared with simple baselines.
    """


@bench.command("facens")
@json_option
@click.option(
    "--size",
    "sizes",
    type=click.IntRange(MIN_FACES),
    multiple=True,
    default=(10_000, 100_000),
    show_default=True,
    help="Facens in a gallery. May be repeated.",
)
@click.option(
    "--numbers",
    type=click.IntRange(8, 4096),
    multiple=True,
    default=(128,),
    show_default=True,
    help="Dimension of a facen. May be repeated.",
)
@click.option(
    "--kind",
    "kinds",
    type=click.Choice(KINDS),
    multiple=True,
    default=KINDS,
    show_default=True,
    help="Distribution of the facens: unrelated, or 20 per person.",
)
@click.option(
    "--galleries",
    type=click.IntRange(0),
    default=1000,
    show_default=True,
    help="Also measure this number of galleries of 100 faces.",
)
@click.option("--start", is_flag=True, help="Also measure the start, with a private MongoDB.")
@click.option("--milvus", metavar="URL", default="", help="Also measure this Milvus server.")
@click.option(
    "--index",
    type=click.Choice(INDEXES),
    default="exact",
    show_default=True,
    help="Index of the Milvus server.",
)
@click.option(
    "--png",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw the results by gallery size as a PNG file.",
)
def facens(
    as_json: bool,
    sizes: tuple[int, ...],
    numbers: tuple[int, ...],
    kinds: tuple[Distribution, ...],
    galleries: int,
    start: bool,
    milvus: str,
    index: Index,
    png: Path | None,
) -> None:
    """Measure speed, memory and accuracy of the facen storage.

    Environment variables set the number of threads: OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 for one.
    """
    if png is not None and len(set(sizes)) < 2:
        raise StartError("--png needs at least two sizes")
    logs.configure("console", "warning")
    milvus = cli_secrets.argument(milvus, "--milvus") if milvus else ""
    plan = _SearchPlan(sizes, numbers, kinds, galleries, start, milvus, index)
    rows = asyncio.run(_measure(plan, (lambda _: None) if as_json else _GrowingTable().show))
    if as_json:
        click.echo(to_json([asdict(row) for row in rows]))
    if png is not None:
        _draw(rows, png)


async def _measure(plan: _SearchPlan, show: Callable[[Row], None]) -> list[Row]:
    gc.freeze()  # as the daemon does, see `daemon.service.ready`
    rows = []
    async for row in _measure_all(plan):
        show(row)
        rows.append(row)
    return rows


async def _measure_all(plan: _SearchPlan) -> AsyncIterator[Row]:
    for size, count, kind in product(plan.numbers, sorted(plan.sizes), plan.kinds):
        measures = [measure_local(kind, count, size), measure_approximate(kind, count, size)]
        if plan.start:
            measures.append(measure_start(kind, count, size))
        if plan.milvus:
            measures.append(_server(plan, kind, count, size))
        for measure in measures:
            async for row in measure:
                yield row
    numbers = [number for part in (100, 10, 1) if (number := plan.galleries // part)]
    for size, number in product(plan.numbers, numbers):
        async for row in measure_galleries(number, 100, size):
            yield row


async def _server(plan: _SearchPlan, kind: Distribution, count: int, size: int) -> AsyncIterator[Row]:
    try:
        settings = FacensSettings(url=SecretStr(plan.milvus), index=plan.index)
        storage = await open_storage(settings, size, None)
        try:
            async for row in measure_server(storage, kind, count, size):
                yield row
        finally:
            await storage.close()
    except (StoreError, ValidationError) as error:
        raise StartError(f"--milvus: {error}") from error


def _draw(rows: list[Row], path: Path) -> None:
    lines = list(curves(rows, PLOTTED))
    x_values = [count for _, xs, _ in lines for count in xs]
    y_values = [value for _, _, ys in lines for value in ys]
    plot = Plot("The facen storage in memory", _decades("facens", x_values), _decades("ms", y_values))
    for name, xs, ys in lines:
        plot.line(name, xs, ys)
    plot.png("top left").save(path)


def _decades(label: str, values: list[float]) -> Axis:
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    high = max(high, low + 1)
    ticks = tuple((10.0**power, _tick_label(power)) for power in range(low, high + 1))
    return Axis(label, 10.0**low, 10.0**high, ticks, log=True)


def _tick_label(power: int) -> str:
    return f"{10 ** (power - 6):,} M" if power >= 6 else f"{10.0**power:,g}"


COMMANDS = (bench,)

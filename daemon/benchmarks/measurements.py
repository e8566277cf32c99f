"""Timing of benchmarks, and the table of their results."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

RUNS = 25


@dataclass(frozen=True, slots=True)
class Row:
    figure: str
    case: str
    value: float
    unit: str
    baseline: float
    """The same figure for a simple baseline or the smallest size, measured in the same run."""
    ratio: float

    @classmethod
    def compare(cls, figure: str, case: str, value: float, unit: str, baseline: float) -> "Row":
        return cls(figure, case, value, unit, baseline, value / baseline if baseline else float("nan"))


async def fastest_of(works: Sequence[Callable[[], Awaitable[object]]], times: int = RUNS) -> list[float]:
    """Wall time of the fastest run of each work. Runs alternate, so that other load affects all equally."""
    return [taken.seconds for taken in await fastest_timings(works, times)]


@dataclass(frozen=True, slots=True)
class Timing:
    seconds: float
    """Wall time."""
    cpu_seconds: float
    """CPU time of all threads of this process."""


async def fastest_timings(
    works: Sequence[Callable[[], Awaitable[object]]], times: int = RUNS
) -> list[Timing]:
    """As `fastest_of`, with CPU time."""
    fastest = [Timing(float("inf"), float("inf"))] * len(works)
    for _ in range(times):
        for number, work in enumerate(works):
            since, cpu_since = time.perf_counter(), time.process_time()
            await work()
            seconds, cpu_seconds = time.perf_counter() - since, time.process_time() - cpu_since
            before = fastest[number]
            fastest[number] = Timing(min(before.seconds, seconds), min(before.cpu_seconds, cpu_seconds))
    return fastest


def table(rows: Sequence[Row]) -> str:
    lines = [f"{'figure':<42}{'case':<26}{'value':>12} {'unit':<10}{'baseline':>12}{'ratio':>9}"]
    for row in rows:
        numbers = f"{row.value:>12.4g} {row.unit:<10}{row.baseline:>12.4g}{row.ratio:>9.3g}"
        lines.append(f"{row.figure:<42}{row.case:<26}{numbers}")
    return "\n".join(lines)

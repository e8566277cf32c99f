"""The rows that benchmarks print, and timing of their parts."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

PAIRS = 25


@dataclass(frozen=True, slots=True)
class Row:
    figure: str
    case: str
    value: float
    unit: str
    baseline: float
    """The same by a simple baseline, or at the smallest size, as the figure says; from the same run."""
    ratio: float

    @classmethod
    def compare(cls, figure: str, case: str, value: float, unit: str, baseline: float) -> "Row":
        return cls(figure, case, value, unit, baseline, value / baseline if baseline else float("nan"))


async def fastest_of(works: Sequence[Callable[[], Awaitable[object]]], times: int = PAIRS) -> list[float]:
    """Wall time of the fastest run of each work. Runs alternate, so that other load affects all equally."""
    return [taken.seconds for taken in await fastest_timings(works, times)]


@dataclass(frozen=True, slots=True)
class Timing:
    seconds: float
    """Wall time."""
    own: float
    """CPU time of all threads of this process."""


async def fastest_timings(
    works: Sequence[Callable[[], Awaitable[object]]], times: int = PAIRS
) -> list[Timing]:
    """As `fastest_of`, with CPU time."""
    least = [Timing(float("inf"), float("inf"))] * len(works)
    for _ in range(times):
        for number, work in enumerate(works):
            since, own_since = time.perf_counter(), time.process_time()
            await work()
            seconds, own = time.perf_counter() - since, time.process_time() - own_since
            before = least[number]
            least[number] = Timing(min(before.seconds, seconds), min(before.own, own))
    return least


def table(rows: Sequence[Row]) -> str:
    lines = [f"{'figure':<42}{'case':<26}{'value':>12} {'unit':<10}{'baseline':>12}{'ratio':>9}"]
    for row in rows:
        numbers = f"{row.value:>12.4g} {row.unit:<10}{row.baseline:>12.4g}{row.ratio:>9.3g}"
        lines.append(f"{row.figure:<42}{row.case:<26}{numbers}")
    return "\n".join(lines)

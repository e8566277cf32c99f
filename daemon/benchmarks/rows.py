"""The rows that a benchmark prints, and how time is taken."""

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
    """The same by the plainest means, or at the smallest size, as the figure says; in the same run."""
    ratio: float

    @classmethod
    def of(cls, figure: str, case: str, value: float, unit: str, baseline: float) -> "Row":
        return cls(figure, case, value, unit, baseline, value / baseline if baseline else float("nan"))


async def fastest_of(works: Sequence[Callable[[], Awaitable[object]]], times: int = PAIRS) -> list[float]:
    """Seconds of the fastest of several runs of each, since what else the machine does only ever adds to it;
    they take turns, so that it meets all alike."""
    return [taken.seconds for taken in await least_of(works, times)]


@dataclass(frozen=True, slots=True)
class Taken:
    seconds: float
    """By the clock."""
    own: float
    """Of processors, by all threads of this process: what other programs take does not count."""


async def least_of(works: Sequence[Callable[[], Awaitable[object]]], times: int = PAIRS) -> list[Taken]:
    """The same, and by the time of processors."""
    least = [Taken(float("inf"), float("inf"))] * len(works)
    for _ in range(times):
        for number, work in enumerate(works):
            since, own_since = time.perf_counter(), time.process_time()
            await work()
            seconds, own = time.perf_counter() - since, time.process_time() - own_since
            before = least[number]
            least[number] = Taken(min(before.seconds, seconds), min(before.own, own))
    return least


def table(rows: Sequence[Row]) -> str:
    lines = [f"{'figure':<42}{'case':<26}{'value':>12} {'unit':<10}{'baseline':>12}{'ratio':>9}"]
    for row in rows:
        numbers = f"{row.value:>12.4g} {row.unit:<10}{row.baseline:>12.4g}{row.ratio:>9.3g}"
        lines.append(f"{row.figure:<42}{row.case:<26}{numbers}")
    return "\n".join(lines)

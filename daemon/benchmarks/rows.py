"""The rows that a benchmark prints, and how time is taken."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

PAIRS = 15


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


async def fastest(work: Callable[[], Awaitable[object]], times: int = PAIRS) -> float:
    """Seconds of the fastest of several runs: what else the machine does only ever adds to it."""
    return (await fastest_of([work], times))[0]


async def fastest_of(works: Sequence[Callable[[], Awaitable[object]]], times: int = PAIRS) -> list[float]:
    """The same for several that take turns, so that what else the machine does meets all alike."""
    seconds = [float("inf")] * len(works)
    for _ in range(times):
        for number, work in enumerate(works):
            since = time.perf_counter()
            await work()
            seconds[number] = min(seconds[number], time.perf_counter() - since)
    return seconds


def table(rows: Sequence[Row]) -> str:
    lines = [f"{'figure':<42}{'case':<26}{'value':>12} {'unit':<10}{'baseline':>12}{'ratio':>9}"]
    for row in rows:
        numbers = f"{row.value:>12.4g} {row.unit:<10}{row.baseline:>12.4g}{row.ratio:>9.3g}"
        lines.append(f"{row.figure:<42}{row.case:<26}{numbers}")
    return "\n".join(lines)

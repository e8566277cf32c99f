"""What a benchmark prints: a small table, or JSON rows of figure, case, value, unit, baseline, ratio."""

import argparse
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from statistics import median
from time import perf_counter

from daemon.benchmarks.measurements import Row, table


def arguments(what: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def show(rows: Sequence[Row], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
        return
    print(table(rows))


async def compared(
    rounds: int, ours: Callable[[], Awaitable[object]], bare: Callable[[], Awaitable[object]]
) -> tuple[float, float, float]:
    """Seconds of each, and their ratio: medians over rounds in which both take turns, each as often the
    first, so that what else the machine does meets both alike."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        pair = [(0, ours), (1, bare)]
        for which, work in pair if number % 2 else reversed(pair):
            since = perf_counter()
            await work()
            seconds[which].append(perf_counter() - since)
    ratios = [mine / theirs for mine, theirs in zip(*seconds, strict=True)]
    return median(seconds[0]), median(seconds[1]), median(ratios)

"""How many cameras the daemon can process, at what cost, and with what recall."""

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from daemon.benchmarks.camera_clips import Clip
from daemon.benchmarks.camera_recall import Recall, recall
from daemon.benchmarks.camera_reference import NaiveLoop, ReferenceVisit
from daemon.benchmarks.camera_runs import Plan, Run, measure
from daemon.benchmarks.measurements import Row
from daemon.runtime.terminal import count

KEEPS_UP_SECONDS = 0.5
"""The daemon keeps up if 95 % of the frames are analysed within this time of their capture."""
KEEPS_UP_SHARE = 0.97
"""The daemon keeps up if this share of the frames is decoded."""
STAGES = ("decode", "motion", "convert", "detect", "track", "quality", "embed", "identify", "store", "upload")
SKIPPED = ("motion", "busy", "corrupt")


def keeps_up(run: Run, plan: Plan) -> bool:
    """Whether the daemon kept up. In keyframe mode, frames may be late by one interval of key frames."""
    decoded = run.rate("facend_frames_decoded_total") / run.frames_due
    decodes = decoded >= KEEPS_UP_SHARE or plan.keyframe_seconds > 0
    return decodes and run.age(0.95) <= KEEPS_UP_SECONDS + plan.keyframe_seconds


def rising(
    plan: Plan, first: int, most: int, steps: int, report: Callable[[Run], None]
) -> tuple[int, list[Run]]:
    """Lookalike the cameras until the daemon falls behind, then bisect; the largest number it kept up
    with."""
    low, high, cameras = 0, most + 1, first
    runs: list[Run] = []
    while cameras > low and len(runs) < steps:
        run = measure(plan, cameras)
        runs.append(run)
        report(run)
        if keeps_up(run, plan):
            low = cameras
        else:
            high = cameras
        cameras = min(most, 2 * low) if high > most else (low + high) // 2
    return low, sorted(runs, key=lambda run: run.cameras)


def run_rows(
    run: Run, plan: Plan, visits: Mapping[Path, Sequence[ReferenceVisit]], first: Run
) -> Iterator[Row]:
    """Cost and results of one run. `first`: the run with the fewest cameras, the baseline of frame ages."""
    case = count(run.cameras, "camera")
    yield Row.compare("CPU of the daemon vs. decoding alone", case, run.cores, "cores", run.decode_cores)
    for part in ("cameras", "analysis", "store and the rest"):
        yield Row.compare(f"CPU: {part}, of it", case, run.cores_of(part), "cores", run.cores)
    yield Row.compare("CPU of mongod vs. the daemon", case, run.mongod_cores, "cores", run.cores)
    decoded = run.rate("facend_frames_decoded_total")
    yield Row.compare("frames decoded, of those due", case, decoded, "1/s", run.frames_due)
    analysed = run.rate("facend_frames_analysed_total")
    yield Row.compare("frames analysed, of those decoded", case, analysed, "1/s", decoded)
    for reason in SKIPPED:
        skipped = run.rate("facend_frames_skipped_total", reason)
        yield Row.compare(f"frames skipped: {reason}", case, skipped, "1/s", decoded)
    for share in (0.5, 0.95, 0.99):
        yield Row.compare(f"frame age p{100 * share:.0f}", case, run.age(share), "s", first.age(share))
    for stage in STAGES:
        spent = run.rate("facend_stage_seconds_sum", stage)
        yield Row.compare(f"time in {stage}, of all cores", case, spent, "s/s", os.cpu_count() or 1)
    promised = 400 + 40 * run.cameras
    yield Row.compare("memory of the daemon, of 400 + 40 each", case, run.end.memory_mib, "MiB", promised)
    yield Row.compare("memory of mongod", case, run.end.mongod_memory_mib, "MiB", first.end.mongod_memory_mib)
    yield from _recall_rows(recall(run, plan, visits), case)


def _recall_rows(seen: Recall, case: str) -> Iterator[Row]:
    yield Row.compare("visits found, of a look at every frame", case, seen.found, "visits", seen.expected)
    yield Row.compare("persons, of as many people", case, seen.persons, "persons", seen.people)
    yield Row.compare("persons or people mixed up", case, seen.mixed, "persons", seen.people)
    for share in (0.5, 0.95):
        delay = _quantile(seen.delays, share)
        yield Row.compare(f"good shot to stored face p{100 * share:.0f} (1.5 s)", case, delay, "s", 1.5)


def sum_rows(sustained: int, limit_fps: float, naive: NaiveLoop, clip: Clip) -> Iterator[Row]:
    """The number of cameras, compared with decoding alone and the naive loop on all cores."""
    case = f"{clip.fps:g} frames/s each"
    yield Row.compare(
        "cameras sustained, of decoding alone", case, sustained, "cameras", limit_fps / clip.fps
    )
    bare = naive.frames / naive.seconds / clip.fps
    yield Row.compare("cameras sustained vs. the naive loop", case, sustained, "cameras", bare)


def curves(
    runs: Sequence[Run], naive: NaiveLoop, clip: Clip
) -> Iterator[tuple[str, list[float], list[float]]]:
    """Cores over the number of cameras: the daemon, decoding alone, and the naive loop, extrapolated."""
    cameras = [float(run.cameras) for run in runs]
    yield "the daemon", cameras, [run.cores for run in runs]
    yield "decoding alone", cameras, [run.decode_cores for run in runs]
    each = naive.cpu_seconds / naive.frames * clip.fps
    yield "the naive loop, by its cost a frame", cameras, [count * each for count in cameras]


def _quantile(values: Sequence[float], share: float) -> float:
    if not values:
        return math.nan
    return sorted(values)[min(len(values) - 1, math.ceil(share * len(values)) - 1)]

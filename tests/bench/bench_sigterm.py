"""How long the daemon takes from SIGTERM to its end, as a table.

python -m tests.bench.bench_sigterm [--times 100] [--seed 7]     under load, at any moment
python -m tests.bench.bench_sigterm --frozen [--times 100]       with every pair of parts frozen, in turn
python -m tests.bench.bench_sigterm --parts camera private_mongod    with these parts frozen
"""

import argparse
import random
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from itertools import combinations, cycle, islice
from pathlib import Path
from statistics import median, quantiles
from typing import NoReturn

from cameras.clips.write import write_clip
from daemon.demo.clip import FPS, demo_frames, sample_picture
from tests.daemon_process import busy_camera, daemon, mongods, write_settings
from tests.frozen_parts import PARTS, End, possible, stopped
from tests.rtsp import rtsp_server

LIMIT_SECONDS = 10.0
FROZEN_LIMIT_SECONDS = 9.0
LOOK_SECONDS = 60.0
"""So long we wait for an end that comes too late, to know how late."""
LATEST_SECONDS = 6.0
"""Signals come up to so long after the cameras run: some while the store still opens, some in full work."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--cameras", type=int, default=4)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--frozen", action="store_true", help="freeze every part, and every pair of parts")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=[], help="freeze these parts")
    parser.add_argument(
        "--without", nargs="+", choices=PARTS, default=[], help="with --frozen: not these parts"
    )
    asked = parser.parse_args()
    if asked.frozen or asked.parts:
        parts = [part for part in PARTS if part not in asked.without]
        every = [*combinations(parts, 2), *combinations(parts, 1)]
        scenes = [one for one in every if possible(one)]
        random.Random(asked.seed).shuffle(scenes)  # noqa: S311  repeatable, no secret
        frozen([tuple(asked.parts)] if asked.parts else scenes, asked.times)
    else:
        under_load(asked)


def frozen(scenes: Sequence[tuple[str, ...]], times: int) -> NoReturn:
    """One row for each end; exit status 1 unless all ended with status 0 in time and lost nothing."""
    good, ended, slowest = 0, 0, 0.0
    wanted = list(islice(cycle(scenes), times if len(scenes) > 1 else 1))
    for names in wanted:
        if (end := one_end(names)) is None:
            continue
        ended += 1
        fine = end.status == 0 and end.seconds <= FROZEN_LIMIT_SECONDS and not (end.lost or end.mongods_left)
        good, slowest = good + fine, max(slowest, end.seconds)
        print(
            f"{'ok ' if fine else 'BAD'} {' + '.join(names):<36} {end.seconds:5.2f} s  status {end.status}  "
            f"accepted {end.accepted:>3}  lost {end.lost}  mongods left {end.mongods_left}  "
            f"{', '.join(dict.fromkeys(end.complaints))}",
            flush=True,
        )
    print(f"{good} of {ended} ended with status 0 within {FROZEN_LIMIT_SECONDS:g} s", end="")
    print(f", the slowest after {slowest:.2f} s")
    raise SystemExit(good < ended or not ended)


def one_end(names: tuple[str, ...]) -> End | None:
    """None where a busy machine takes too long to start all parts, twice."""
    for _ in range(2):
        with tempfile.TemporaryDirectory(prefix="facend-", ignore_cleanup_errors=True) as name:
            clip = Path(name, "hall.mp4")
            write_clip(clip, islice(demo_frames(sample_picture()), 35, 135), FPS)
            try:
                return stopped(names, clip, Path(name))
            except (AssertionError, OSError) as error:
                reason = str(error).splitlines()[0]
                print(f"--- {' + '.join(names)} did not get to work: {reason}", flush=True)
    return None


def under_load(asked: argparse.Namespace) -> NoReturn:
    moments = random.Random(asked.seed)  # noqa: S311  repeatable, no secret
    seconds: list[float] = []
    statuses: Counter[int] = Counter()
    left_over = accepted = 0
    with tempfile.TemporaryDirectory(prefix="facend-", ignore_cleanup_errors=True) as name:
        folder, clip = Path(name), Path(name, "hall.mp4")
        write_clip(clip, islice(demo_frames(sample_picture()), 35, 135), FPS)
        names = [f"camera-{number}" for number in range(asked.cameras)]
        with rtsp_server(dict.fromkeys(names, clip)) as server:
            cameras = [{**busy_camera(one, clip), "url": server.url(one), "loop": False} for one in names]
            settings = write_settings(folder, cameras)
            for number in range(asked.times):
                with daemon(settings, MALLOC_ARENA_MAX="2") as process:
                    process.running()
                    time.sleep(moments.uniform(0, LATEST_SECONDS))
                    began = time.monotonic()
                    statuses[process.stop(LOOK_SECONDS)] += 1
                    seconds.append(time.monotonic() - began)
                    accepted += len(process.log("sighting accepted"))
                left_over += len(mongods(folder / "data"))
                if number % 10 == 9:
                    print(f"{number + 1} of {asked.times}, the slowest {max(seconds):.1f} s", flush=True)
    in_time = sum(one <= LIMIT_SECONDS for one in seconds)
    p99 = quantiles(seconds, n=100, method="inclusive")[98] if len(seconds) > 1 else seconds[0]
    print("  times    min  median    p99    max  (s)  in time  statuses  mongods left  sightings accepted")
    print(
        f"{len(seconds):>7}  {min(seconds):>5.2f}  {median(seconds):>6.2f}  {p99:>5.2f}  {max(seconds):>5.2f}"
        f"       {in_time:>7}  {dict(statuses)!s:>8}  {left_over:>12}  {accepted:>18}"
    )
    raise SystemExit(0 if in_time == asked.times and set(statuses) == {0} and not left_over else 1)


if __name__ == "__main__":
    main()

"""A run of hours with four cameras and visitors, which measures whether the daemon's use of resources grows.

python -m tests.soak [--minutes 120] [--every 5]
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from prometheus_client.utils import floatToGoString

from daemon.benchmarks.histograms import quantile
from daemon.demo.clip import make_demo_clip
from daemon.runtime.metrics import LAG_BUCKETS
from tests.daemon_process import Daemon, Samples, daemon, write_settings
from tests.own_memory import own_kibibytes
from tests.rtsp import rtsp_server

CAMERAS = ("hall", "door", "yard", "gate")
LAG = "facend_event_loop_lag_seconds_bucket"
MOST_GROWTH, MOST_LAG_SECONDS = 0.02, 0.02


@dataclass(frozen=True)
class Plan:
    """Durations in seconds."""

    measured: float
    warm_up: float
    row: float
    """Interval of the printed lines."""
    look: float = 2.0
    max_fps: float = 5.0


@dataclass(frozen=True)
class Held:
    """Resources of the daemon at a moment, without its MongoDB."""

    kibibytes: int
    """Private memory, without the facens, which grow with each visitor."""
    threads: int
    files: int
    tasks: int
    """On the event loop."""


@dataclass(frozen=True)
class Outcome:
    """Differences between the first and the last quarter of the measurements after the warm-up."""

    growth: float
    """Of the memory: the ratio of the medians, minus 1."""
    threads: int
    files: int
    tasks: int
    """The minimum of the last quarter minus the maximum of the first, because the numbers fluctuate."""
    stored: int
    stored_late: int
    """Sightings stored since the warm-up, and in the second half."""
    errors: Sequence[str]
    """Log lines of the level error and above, and tracebacks."""
    lag_p50: float
    lag_p99: float
    exit_status: int

    @property
    def is_good(self) -> bool:
        return (
            self.growth <= MOST_GROWTH
            and max(self.threads, self.files, self.tasks) <= 0
            and not self.errors
            and self.lag_p99 <= MOST_LAG_SECONDS
            and self.stored_late > 0
            and self.exit_status == 0
        )

    def __str__(self) -> str:
        return (
            f"{'good' if self.is_good else 'NOT GOOD'}: "
            f"memory {self.growth:+.1%} (at most {MOST_GROWTH:.0%}), "
            f"left over: threads {max(0, self.threads)}, files {max(0, self.files)}, "
            f"tasks {max(0, self.tasks)}; errors {len(self.errors)}, "
            f"event loop late p99 {self.lag_p99 * 1000:.1f} ms (at most {MOST_LAG_SECONDS * 1000:.0f}), "
            f"{self.stored} sightings stored, "
            f"exit status {self.exit_status}"
        )


def soak(folder: Path, clip: Path, plan: Plan, say: Callable[[str], None]) -> Outcome:
    """Runs the daemon on four RTSP cameras that play the clip, and prints measurements."""
    with rtsp_server(dict.fromkeys(CAMERAS, clip)) as server:
        cameras = [{"id": name, "url": server.url(name), "max_fps": plan.max_fps} for name in CAMERAS]
        settings = write_settings(folder, cameras, log_level="info")
        with daemon(settings, MALLOC_ARENA_MAX="2") as process:  # as systemd/facend.service sets it
            process.ready()
            time.sleep(plan.warm_up)
            say("minutes      MB  threads  files  tasks  stored  errors  late p50, p99 (ms)")
            looks: list[Held] = []
            first = previous = half = process.metrics()
            began = row_at = time.monotonic()
            while (now := time.monotonic()) < began + plan.measured:
                looks.append(held(process))
                if now >= row_at:
                    sample = process.metrics()
                    say(_row(now - began, looks[-1], sample, previous, errors(process)))
                    previous, row_at = sample, row_at + plan.row
                    if now < began + plan.measured / 2:
                        half = sample
                time.sleep(plan.look)
            last = process.metrics()
            say(_row(time.monotonic() - began, looks[-1], last, previous, errors(process)))
            status = process.stop()
            early, late = looks[: max(1, len(looks) // 4)], looks[-max(1, len(looks) // 4) :]
            p50, p99 = lag(last, first)
            return Outcome(
                growth=median(one.kibibytes for one in late) / median(one.kibibytes for one in early) - 1,
                threads=min(one.threads for one in late) - max(one.threads for one in early),
                files=min(one.files for one in late) - max(one.files for one in early),
                tasks=min(one.tasks for one in late) - max(one.tasks for one in early),
                stored=stored(last) - stored(first),
                stored_late=stored(last) - stored(half),
                errors=errors(process),
                lag_p50=p50,
                lag_p99=p99,
                exit_status=status,
            )


def held(process: Daemon) -> Held:
    here = Path("/proc", str(process.pid))
    threads, files = (len(list((here / what).iterdir())) for what in ("task", "fd"))
    sample = process.metrics()
    own = own_kibibytes(process.pid) - round(sample.total("facend_facens_bytes") / 1024)
    return Held(own, threads, files, int(sample.total("facend_event_loop_tasks")))


def stored(samples: Samples) -> int:
    return int(samples.total("facend_sightings_total", outcome="stored"))


def errors(process: Daemon) -> list[str]:
    entries = [entry["event"] for entry in process.log() if entry["level"] in ("error", "critical")]
    return entries + [line for line in process.text().splitlines() if "Traceback (" in line]


def lag(later: Samples, before: Samples) -> tuple[float, float]:
    """Lag of the event loop, p50 and p99 in seconds; interpolated within a bucket, as Prometheus does it."""
    buckets = [
        (end, later.total(LAG, le=floatToGoString(end)) - before.total(LAG, le=floatToGoString(end)))
        for end in (*LAG_BUCKETS, float("inf"))
    ]
    return quantile(buckets, 0.5), quantile(buckets, 0.99)


def _row(seconds: float, now: Held, sample: Samples, before: Samples, wrong: Sequence[str]) -> str:
    late = "" if sample is before else "{:.1f}, {:.1f}".format(*(1000 * one for one in lag(sample, before)))
    return (
        f"{seconds / 60:>7.1f}  {now.kibibytes / 1024:>6.1f}  {now.threads:>7}  {now.files:>5}  "
        f"{now.tasks:>5}  {stored(sample):>6}  {len(wrong):>6}  {late}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--every", type=float, default=5, help="minutes between lines")
    asked = parser.parse_args()
    plan = Plan(asked.minutes * 60, min(600.0, asked.minutes * 6), asked.every * 60)
    with tempfile.TemporaryDirectory(prefix="facend-", ignore_cleanup_errors=True) as folder:
        clip = Path(folder, "clip.mp4")
        make_demo_clip(clip)
        print(f"warming up for {plan.warm_up / 60:.1f} minutes", flush=True)
        outcome = soak(Path(folder), clip, plan, lambda line: print(line, flush=True))
        for error in outcome.errors[:20]:
            print(error)
        print(outcome)
        raise SystemExit(0 if outcome.is_good else 1)


if __name__ == "__main__":
    main()

"""So many cameras through the whole daemon for a while, and what came of it."""

import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cameras.clips.decode_benchmark import DecodeCost, decode
from daemon.benchmarks.camera_clips import Playing
from daemon.benchmarks.camera_process import CameraDaemon, Look, Stored, running
from daemon.benchmarks.histograms import quantile
from daemon.errors import StartError

WARM_SECONDS = 4.0
"""The first pictures of all cameras, when everything is looked at, are not measured."""
TAIL_SECONDS = 4.0
"""A visit whose first good look was so long before the end has had its time to be stored."""
FIRST_PICTURES_SECONDS = 60.0
PATIENCE_SECONDS = 3.0
"""A face that was stored belongs to a visit that is at most so far away."""


@dataclass(frozen=True, slots=True)
class Plan:
    played: Callable[[int], Playing]
    """What the camera with this number plays."""
    seconds: float
    """How long is measured."""
    camera: Mapping[str, Any]
    """Settings that all cameras share."""
    models: Mapping[str, Any]
    """The settings' section."""
    doze_seconds: float = 0.0
    """How long cameras may lie between two key frames without decoding; 0 where they decode everything."""


@dataclass(frozen=True, slots=True)
class Run:
    cameras: int
    begin: Look
    end: Look
    began: Mapping[str, float]
    """When each camera's first picture was there, unix time."""
    stored: Sequence[Stored]
    bare_cores: float
    """What decoding alone takes, of the same clips at the same pace."""
    frames_due: float
    """A second."""

    @property
    def seconds(self) -> float:
        return self.end.at - self.begin.at

    @property
    def cores(self) -> float:
        return (self.end.cpu - self.begin.cpu) / self.seconds

    def cores_of(self, part: str) -> float:
        """`cameras`, `analysis`, or `store and the rest`."""
        spent = self.end.cpu_seconds.get(part, 0.0) - self.begin.cpu_seconds.get(part, 0.0)
        return spent / self.seconds

    @property
    def mongod_cores(self) -> float:
        return (self.end.mongod_cpu_seconds - self.begin.mongod_cpu_seconds) / self.seconds

    def rate(self, metric: str, label: str = "") -> float:
        """How much it grew a second."""
        key = metric, label
        return (self.end.samples.get(key, 0.0) - self.begin.samples.get(key, 0.0)) / self.seconds

    def age(self, share: float) -> float:
        """The frame age that this share of the frames has at most; within a bucket as Prometheus takes it."""
        name = "facend_frame_age_seconds_bucket"
        edges = sorted((float(label), label) for metric, label in self.end.samples if metric == name)
        return quantile([(edge, self.rate(name, label)) for edge, label in edges], share)


def measure(plan: Plan, cameras: int) -> Run:
    """Play so many cameras. StartError where the daemon does not start."""
    played = [plan.played(number) for number in range(cameras)]
    bare = _bare(played, min(plan.seconds, 10.0))
    with tempfile.TemporaryDirectory(prefix="facend-", ignore_cleanup_errors=True) as folder:
        settings = {
            "models": plan.models,
            "persons": {"scope": "global"},
            "cameras": [
                {"id": f"c{number}", "url": one.path.absolute().as_uri(), "loop": True, **plan.camera}
                for number, one in enumerate(played)
            ],
        }
        with running(settings, Path(folder)) as daemon:
            began = _first_pictures(daemon, cameras)
            time.sleep(WARM_SECONDS)
            begin = daemon.look()
            time.sleep(plan.seconds)
            end = daemon.look()
            time.sleep(0.5)
            stored = daemon.stored()
    due = sum(one.clip.fps for one in played)
    cores = sum(part.cpu_seconds for part in bare) / (sum(part.seconds for part in bare) / len(bare))
    return Run(cameras, begin, end, began, stored, cores, due)


def _first_pictures(daemon: CameraDaemon, cameras: int) -> dict[str, float]:
    deadline = time.monotonic() + FIRST_PICTURES_SECONDS
    while len(began := daemon.began()) < cameras:
        if time.monotonic() > deadline:
            raise StartError(f"of {cameras} cameras only {len(began)} gave a picture")
        time.sleep(0.2)
    return began


def _bare(played: Sequence[Playing], seconds: float) -> list[DecodeCost]:
    """The same clips at the same pace, decoded and nothing else; a thread each, as in the daemon."""
    done: list[DecodeCost] = []
    threads = [
        threading.Thread(target=lambda path=one.path: done.append(decode(path, seconds, paced=True)))
        for one in played
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return done


def decoding_limit(path: Path, threads: int, seconds: float) -> DecodeCost:
    """All threads together, as fast as they can: frames and CPU seconds of all, seconds of the longest."""
    done: list[DecodeCost] = []
    workers = [
        threading.Thread(target=lambda: done.append(decode(path, seconds, paced=False)))
        for _ in range(threads)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return DecodeCost(
        sum(one.frames for one in done),
        sum(one.key_frames for one in done),
        sum(one.cpu_seconds for one in done),
        max(one.seconds for one in done),
    )

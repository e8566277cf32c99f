"""Runs a number of cameras through the whole daemon and measures it."""

import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cameras.clips.decode_benchmark import DecodeCost, decode
from daemon.benchmarks.camera_clips import PlayedClip
from daemon.benchmarks.daemon_process import CameraDaemon, DaemonSample, Stored, running
from daemon.benchmarks.histograms import quantile
from daemon.errors import StartError
from daemon.runtime.terminal import count

WARM_SECONDS = 4.0
"""Warm-up: the first frames of all cameras are analysed in full and not measured."""
TAIL_SECONDS = 4.0
"""Time before the end that a visit needs to be stored; later visits are not expected."""
FIRST_PICTURES_SECONDS = 60.0
PATIENCE_SECONDS = 3.0
"""Maximum distance in time between a stored face and its visit."""


@dataclass(frozen=True, slots=True)
class Plan:
    played: Callable[[int], PlayedClip]
    """The clip of each camera, by number."""
    seconds: float
    """Measured duration."""
    camera: Mapping[str, Any]
    """Settings of all cameras."""
    models: Mapping[str, Any]
    """The section of the settings."""
    keyframe_seconds: float = 0.0
    """Interval of key frames if cameras decode only these; 0 if they decode everything."""


@dataclass(frozen=True, slots=True)
class Run:
    cameras: int
    begin: DaemonSample
    end: DaemonSample
    began: Mapping[str, float]
    """Unix time of each camera's first frame."""
    stored: Sequence[Stored]
    decode_cores: float
    """Cost of decoding alone, for the same clips at the same speed."""
    frames_due: float
    """Frames per second that the clips deliver."""

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
        """Increase per second."""
        key = metric, label
        return (self.end.samples.get(key, 0.0) - self.begin.samples.get(key, 0.0)) / self.seconds

    def age(self, share: float) -> float:
        """A quantile of the frame age, in seconds."""
        name = "facend_frame_age_seconds_bucket"
        edges = sorted((float(label), label) for metric, label in self.end.samples if metric == name)
        return quantile([(edge, self.rate(name, label)) for edge, label in edges], share)


def measure(plan: Plan, cameras: int) -> Run:
    """Measure the daemon with this number of cameras. Raises StartError if it does not start."""
    played = [plan.played(number) for number in range(cameras)]
    bare = _decode_only(played, min(plan.seconds, 10.0))
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
            begin = daemon.sample()
            time.sleep(plan.seconds)
            end = daemon.sample()
            time.sleep(0.5)
            stored = daemon.stored()
    due = sum(one.clip.fps for one in played)
    cores = sum(part.cpu_seconds for part in bare) / (sum(part.seconds for part in bare) / len(bare))
    return Run(cameras, begin, end, began, stored, cores, due)


def _first_pictures(daemon: CameraDaemon, cameras: int) -> dict[str, float]:
    deadline = time.monotonic() + FIRST_PICTURES_SECONDS
    while len(began := daemon.began()) < cameras:
        if time.monotonic() > deadline:
            raise StartError(f"only {len(began)} of {count(cameras, 'camera')} delivered a frame")
        time.sleep(0.2)
    return began


def _decode_only(played: Sequence[PlayedClip], seconds: float) -> list[DecodeCost]:
    """Decode the same clips at the same speed and nothing else, one thread per clip, as in the daemon."""
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
    """Decode on all threads at full speed: frames and CPU seconds of all, seconds of the slowest."""
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

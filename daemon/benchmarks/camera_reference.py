"""Baselines: the visits in a clip, found by analysing every frame in full, and a naive analysis loop."""

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np

from cameras.settings import CameraSettings
from cameras.source.ffmpeg import FFmpegSource
from cameras.stream import DecodedFrame
from daemon.benchmarks.camera_clips import Clip
from daemon.config.settings import PipelineSettings
from pipeline.faces.alignment import align
from pipeline.faces.facen import confidence
from pipeline.models.loader import Models
from pipeline.stages import CameraStages
from pipeline.types import Facen, Frame, Picture, Sighting, UnobservedPipeline

SHOT_SECONDS = 0.1
"""Delay of the reference between a good shot and its sighting."""
NAIVE_POSITIONS = 24
"""Number of positions in the clip at which the naive loop runs."""
NAIVE_FRAMES = 5
"""Number of consecutive frames that the naive loop analyses at each position."""
MIN_DETECTION_SCORE = 0.6
"""Minimum detection score in the naive loop."""


@dataclass(frozen=True, slots=True)
class ReferenceVisit:
    """A visit in a clip; times in seconds from the start of the clip."""

    first_good_shot: float
    last_shot: float
    person: int
    """The same number for the same person."""


@dataclass(frozen=True, slots=True)
class NaiveLoop:
    """The cost of the naive loop."""

    frames: int
    seconds: float
    cpu_seconds: float


class PersonIndex:
    """Numbers people by facen: the most similar known one at or above the threshold, else a new one."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._known: list[Facen] = []

    def number(self, facen: Facen) -> int:
        alike = [float(confidence(float(np.dot(facen, known)))) for known in self._known]
        if alike and max(alike) >= self._threshold:
            return int(np.argmax(alike))
        self._known.append(facen)
        return len(self._known) - 1


def visits_in(
    clip: Clip, models: Models, pipeline: PipelineSettings, people: PersonIndex
) -> list[ReferenceVisit]:
    """Every visit in the clip, in order. A repeated piece is analysed once."""
    visits = []
    for part in clip.parts:
        seen = _visits(part.path, models, pipeline, people)
        visits += [
            ReferenceVisit(visit.first_good_shot + start, visit.last_shot + start, visit.person)
            for start in part.starts
            for visit in seen
        ]
    return sorted(visits, key=lambda visit: visit.first_good_shot)


def _visits(
    path: Path, models: Models, pipeline: PipelineSettings, people: PersonIndex
) -> list[ReferenceVisit]:
    camera = CameraSettings(
        id="reference",
        url=path.absolute().as_uri(),
        max_fps=120,
        posting="realtime",
        post_interval_seconds=SHOT_SECONDS,
    )
    settings = replace(pipeline.for_camera(camera), search_fps=camera.max_fps, full_search_seconds=0.0)
    stages = CameraStages(camera.id, models, settings, UnobservedPipeline())
    sightings: list[Sighting] = []
    source = FFmpegSource(camera)
    try:
        for item in source.frames():
            if isinstance(item, DecodedFrame):
                seconds = item.stream_seconds or 0.0
                moment = datetime.fromtimestamp(seconds, UTC)
                sightings += stages.process(Frame(camera.id, moment, seconds, item.pixels))
    finally:
        source.close()
    sightings += stages.finish()
    together: dict[str, list[Sighting]] = {}
    for sighting in sightings:
        together.setdefault(sighting.visit_id, []).append(sighting)
    return [
        ReferenceVisit(shots[0].media_time, shots[-1].media_time, people.number(max(shots, key=_score).facen))
        for shots in together.values()
    ]


def _score(sighting: Sighting) -> float:
    return sighting.score


def naive_loop(path: Path, models: Models, detect_size: int) -> NaiveLoop:
    """Decode every frame with OpenCV, detect faces and embed each of them.

    Runs at positions spread over the clip, so that faces are as frequent as in the whole clip.
    """
    reader = cv2.VideoCapture(str(path))
    frames, seconds, cpu = 0, 0.0, 0.0
    count = int(reader.get(cv2.CAP_PROP_FRAME_COUNT))
    for position in range(NAIVE_POSITIONS):
        reader.set(cv2.CAP_PROP_POS_FRAMES, position * count // NAIVE_POSITIONS)
        reader.read()
        since, spent = time.perf_counter(), time.process_time()
        for _ in range(NAIVE_FRAMES):
            read, picture = reader.read()
            if not read:
                break
            analyse_naively(np.asarray(picture, np.uint8), models, detect_size)
            frames += 1
        seconds += time.perf_counter() - since
        cpu += time.process_time() - spent
    reader.release()
    return NaiveLoop(frames, seconds, cpu)


def analyse_naively(picture: Picture, models: Models, detect_size: int) -> None:
    """One step of the naive loop. `picture`: BGR."""
    factor = min(1.0, detect_size / max(picture.shape[:2]))
    small = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    for face in models.detector.detect(np.asarray(small, np.uint8)):
        if face.score >= MIN_DETECTION_SCORE:
            models.embedder.embed([align(picture, face.landmarks / np.float32(factor))])

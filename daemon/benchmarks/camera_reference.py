"""What a clip holds, by a slow look at all of every frame; and the plain loop that everybody writes first."""

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
from pipeline.models.engine import Models
from pipeline.stages import CameraStages
from pipeline.types import Facen, Frame, Picture, Sighting, Unobserved

LOOK_SECONDS = 0.1
"""How soon after a visit's first good look the reference has posted it."""
PLAIN_PLACES = 24
PLAIN_FRAMES = 5
"""The plain loop looks at so many frames in a row, at so many places of the clip."""
SURE = 0.6
"""The detector's score from which the plain loop takes something for a face."""


@dataclass(frozen=True, slots=True)
class Visit:
    """A visit in a clip, in seconds from its start."""

    first_good_look: float
    last_look: float
    person: int
    """The same number for the same person."""


@dataclass(frozen=True, slots=True)
class Plain:
    """What the plain loop did."""

    frames: int
    seconds: float
    cpu_seconds: float


class People:
    """Who is who, by the facens: the most alike one known, from the pack's medium threshold on."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._known: list[Facen] = []

    def number(self, facen: Facen) -> int:
        alike = [float(confidence(float(np.dot(facen, known)))) for known in self._known]
        if alike and max(alike) >= self._threshold:
            return int(np.argmax(alike))
        self._known.append(facen)
        return len(self._known) - 1


def visits_in(clip: Clip, models: Models, pipeline: PipelineSettings, people: People) -> list[Visit]:
    """Every visit in the clip, in order. A part that comes again and again is looked at once."""
    visits = []
    for part in clip.parts:
        seen = _visits(part.path, models, pipeline, people)
        visits += [
            Visit(visit.first_good_look + start, visit.last_look + start, visit.person)
            for start in part.starts
            for visit in seen
        ]
    return sorted(visits, key=lambda visit: visit.first_good_look)


def _visits(path: Path, models: Models, pipeline: PipelineSettings, people: People) -> list[Visit]:
    camera = CameraSettings(
        id="reference",
        url=path.absolute().as_uri(),
        max_fps=120,
        posting="realtime",
        post_interval_seconds=LOOK_SECONDS,
    )
    settings = replace(pipeline.for_camera(camera), search_fps=camera.max_fps, whole_seconds=0.0)
    stages = CameraStages(camera.id, models, settings, Unobserved())
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
        Visit(shots[0].media_time, shots[-1].media_time, people.number(max(shots, key=_score).facen))
        for shots in together.values()
    ]


def _score(sighting: Sighting) -> float:
    return sighting.score


def plain_loop(path: Path, models: Models, detect_size: int) -> Plain:
    """Decode, convert, look for faces and embed each of them, in every frame, with OpenCV's own reader.

    At places all over the clip, so that there are faces as often as in the whole.
    """
    reader = cv2.VideoCapture(str(path))
    frames, seconds, cpu = 0, 0.0, 0.0
    count = int(reader.get(cv2.CAP_PROP_FRAME_COUNT))
    for place in range(PLAIN_PLACES):
        reader.set(cv2.CAP_PROP_POS_FRAMES, place * count // PLAIN_PLACES)
        reader.read()
        since, spent = time.perf_counter(), time.process_time()
        for _ in range(PLAIN_FRAMES):
            read, picture = reader.read()
            if not read:
                break
            look_plainly(np.asarray(picture, np.uint8), models, detect_size)
            frames += 1
        seconds += time.perf_counter() - since
        cpu += time.process_time() - spent
    reader.release()
    return Plain(frames, seconds, cpu)


def look_plainly(picture: Picture, models: Models, detect_size: int) -> None:
    """What the plain loop does with a frame in BGR."""
    factor = min(1.0, detect_size / max(picture.shape[:2]))
    small = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    for face in models.detector.detect(np.asarray(small, np.uint8)):
        if face.score >= SURE:
            models.embedder.embed([align(picture, face.landmarks / np.float32(factor))])

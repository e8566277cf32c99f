"""What a crowded camera costs, every frame of it analysed, against the naive loop with the same models.

python -m tests.bench.bench_crowd [--json] [--rounds 7]

Two made clips in full HD, 25 frames a second at 4 Mbit/s: six people who sway, and who come nearer, so that
each second has a better picture of each. A round is a second of the clip, by the camera's stages (every frame
analysed, motion gate) and by the naive loop in turn, both with one thread of OpenCV's and ONNX Runtime's.
Time is this process's own on the processors; medians over the rounds, and the end of all visits spread over
them.
"""

import math
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from statistics import median

import cv2
import numpy as np

from cameras.clips.write import write_clip
from cameras.load.motion import MotionGate
from cameras.settings import CameraSettings
from cameras.source.ffmpeg import FFmpegSource
from cameras.stream import DecodedFrame
from daemon.benchmarks.camera_clips import BIT_RATE, FPS, HEIGHT, KEY_FRAME_SECONDS, WIDTH, filmed
from daemon.benchmarks.camera_reference import analyse_naively
from daemon.config.settings import PipelineSettings
from daemon.demo.clip import sample_picture
from pipeline.models.loader import Models
from pipeline.stages import CameraStages
from pipeline.types import Frame, Picture, Scene, UnobservedPipeline
from pipeline.visits.best_shot import Posting
from tests.bench.rows import Row, arguments, show
from tests.faces import default_models


def sways(seconds: float) -> float:
    """How much larger the people are than in the sample picture."""
    return 1.3


def comes_nearer(seconds: float) -> float:
    return 1.0 + 0.06 * seconds


def crowd(size: Callable[[float], float], count: int) -> Iterator[Picture]:
    """So many frames of six people."""
    people = sample_picture()
    for number in range(count):
        seconds = number / FPS
        scale = size(seconds)
        x, y = 30 * math.sin(1.7 * seconds), 15 * math.sin(2.9 * seconds)
        left, top = (WIDTH - people.shape[1] * scale) / 2 + x, (HEIGHT - people.shape[0] * scale) / 2 + y
        place = np.array([[scale, 0, left], [0, scale, top]], np.float32)
        frame = cv2.warpAffine(people, place, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)
        yield np.asarray(frame, np.uint8)


class Camera:
    """The camera's way from its stream to sightings, in this thread."""

    def __init__(self, clip: Path, models: Models, posting: Posting) -> None:
        settings = CameraSettings(id="crowd", url=clip.as_uri(), max_fps=FPS, posting=posting)
        gate = MotionGate()

        def watch(frame: Frame) -> Scene:
            return gate.scene(frame.pixels.luma(), frame.media_time)

        staging = PipelineSettings().for_camera(settings)
        self._stages = CameraStages("crowd", models, staging, UnobservedPipeline(), watch)
        self._items = FFmpegSource(settings).frames()

    def second(self) -> None:
        """Take as many frames as come in one."""
        taken = 0
        while taken < FPS:
            item = next(self._items)
            if isinstance(item, DecodedFrame):
                seconds = item.stream_seconds or 0.0
                moment = datetime.fromtimestamp(seconds, UTC)
                self._stages.process(Frame("crowd", moment, seconds, item.pixels))
                taken += 1

    def finish(self) -> None:
        """End all visits."""
        self._stages.finish()


class Plain:
    """What everybody writes first."""

    def __init__(self, clip: Path, models: Models) -> None:
        self._reader, self._models = cv2.VideoCapture(str(clip)), models

    def second(self) -> None:
        for _ in range(FPS):
            _, picture = self._reader.read()
            analyse_naively(np.asarray(picture, np.uint8), self._models, PipelineSettings().detect_size)


def milliseconds(work: Callable[[], None]) -> float:
    """Of the processors, a frame."""
    since = time.process_time()
    work()
    return (time.process_time() - since) / FPS * 1e3


def measure(size: Callable[[float], float], posting: Posting, rounds: int) -> Row:
    models = default_models()
    with tempfile.TemporaryDirectory(prefix="facend-") as folder:
        clip = Path(folder) / "crowd.mp4"
        frames = crowd(size, (rounds + 1) * FPS)
        write_clip(clip, filmed(frames), FPS, KEY_FRAME_SECONDS, BIT_RATE)
        camera, plain = Camera(clip, models, posting), Plain(clip, models)
        for one in (camera, plain):
            one.second()  # until everybody is known, there is more to do
        pairs = [(milliseconds(camera.second), milliseconds(plain.second)) for _ in range(rounds)]
        ends = milliseconds(camera.finish) / (rounds + 1)
    ours, theirs = median(pair[0] for pair in pairs) + ends, median(pair[1] for pair in pairs)
    case = f"six people, {size.__name__.replace('_', ' ')}, {posting}"
    return Row.compare("a frame decoded and analysed", case, ours, "ms", theirs)


def main() -> None:
    parser = arguments("the cost of a crowded camera")
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    cases = product((sways, comes_nearer), (Posting.OVERALL, Posting.REALTIME))
    show([measure(size, posting, given.rounds) for size, posting in cases], as_json=given.json)


if __name__ == "__main__":
    main()

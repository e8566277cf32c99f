"""The clip that `facend demo` plays: six people come down a hall, each of them twice.

The faces are real: they are cut out of a sample picture in the insightface package, so that
the demo needs neither a download nor a camera. The hall and the bodies are drawn. Rendering is
deterministic.
"""

import hashlib
import importlib.util
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from cameras.clips.write import write_clip
from daemon.demo.layers import Grain, Layer, grains, mipmaps, stamp
from pipeline.types import Picture

WIDTH, HEIGHT = 1280, 720
FPS = 15
SECONDS = 40


class DemoClipError(Exception):
    """The demo clip cannot be made, because the sample picture is missing or not the expected one."""


class SamplePerson(NamedTuple):
    """The ellipse around a head in the sample picture, and the colour of the body's shirt."""

    x: int
    y: int
    half_width: int
    half_height: int
    lean: int
    """Degrees, clockwise."""
    shirt: tuple[int, int, int]
    """BGR."""


# insightface/data/images/t1.jpg of insightface 2.1, 1280×886, six people around a table. The ellipses were
# measured on exactly this file.
SAMPLE = Path("data/images/t1.jpg")
SAMPLE_SHA256 = "47f682e945b659f93a9e490b9c9c4a2a864abe64dace9e1a2893845ddfd69489"
PEOPLE = (
    SamplePerson(106, 320, 72, 86, -12, (52, 46, 44)),
    SamplePerson(333, 184, 62, 82, -8, (72, 44, 58)),
    SamplePerson(533, 318, 66, 98, 11, (92, 84, 80)),
    SamplePerson(807, 384, 62, 92, 9, (40, 34, 128)),
    SamplePerson(984, 104, 68, 100, 11, (128, 132, 126)),
    SamplePerson(1192, 321, 66, 86, -3, (96, 78, 46)),
)


@dataclass(frozen=True, slots=True)
class Walk:
    """One visit: a person comes out of the door and passes the camera on one side."""

    person: int
    start: float
    """Seconds from the clip's start."""
    side: int
    """-1 passes the camera on its left, 1 on its right."""
    nearest: float
    """Size at the edge of the picture, relative to the sample picture, where a face is 100 px wide."""
    light: float
    """Brightness, 1 is that of the sample picture."""
    tilt: float
    """Maximum tilt of the head, degrees."""
    lower: float
    """Additional distance of the head below the horizon, in pixels at size 1."""


WALK_SECONDS = 4.4
FARTHEST = 0.27
WALKS = (
    Walk(0, 0.4, -1, 1.55, 1.00, 3, 10),
    Walk(3, 2.5, 1, 1.45, 0.90, -4, 0),
    Walk(1, 6.9, -1, 1.50, 1.05, 4, 20),
    Walk(4, 9.1, 1, 1.60, 0.95, 3, -35),
    Walk(2, 13.3, 1, 1.50, 0.85, -4, -15),
    Walk(5, 15.3, -1, 1.55, 1.00, 5, 25),
    Walk(4, 20.2, -1, 1.45, 1.08, -3, -30),
    Walk(0, 22.2, 1, 1.60, 0.88, -4, 15),
    Walk(5, 26.5, 1, 1.45, 0.92, -3, 20),
    Walk(2, 28.6, -1, 1.60, 1.05, 4, -20),
    Walk(3, 33.0, -1, 1.55, 1.02, 5, 5),
    Walk(1, 34.9, 1, 1.60, 0.90, -3, 15),
)
HORIZON = 285
DOOR = (560, 720)
"""Left and right edge of the door, pixels."""


def make_demo_clip(path: Path, progress: Callable[[int, int], None] | None = None) -> None:
    """Write the clip (H.264, 1280×720, 15 frames/s, 40 s) to `path`, which appears only when it is complete.

    `progress` gets the number of rendered frames, and their total.

    Raises:
        DemoClipError: insightface's sample picture is missing or not the expected one.
        ClipError: the file cannot be written.
    """
    write_clip(path, demo_frames(sample_picture(), progress), FPS)


def demo_frames(sample: Picture, progress: Callable[[int, int], None] | None = None) -> Iterator[Picture]:
    """The clip's frames, rendered from the sample picture."""
    count = SECONDS * FPS
    for number, frame in enumerate(hall_frames(sample, WALKS, count, FPS)):
        yield frame
        if progress is not None:
            progress(number + 1, count)


def hall_frames(sample: Picture, walks: Sequence[Walk], count: int, fps: int) -> Iterator[Picture]:
    """`count` frames of the hall and its visitors, rendered from the sample picture."""
    people = {walk.person: PEOPLE[walk.person] for walk in walks}
    bodies = {number: mipmaps(_body(person)) for number, person in people.items()}
    heads = {number: mipmaps(_head(sample, person)) for number, person in people.items()}
    noises = grains(WIDTH, HEIGHT, 5)
    hall = _hall()
    halls = [grain.over(hall) for grain in noises]
    for number in range(count):
        frame = halls[number % len(halls)].copy()
        grain = noises[(number + 2) % len(noises)]
        seconds = number / fps
        # The person who started last is farthest away, and hidden by those in front.
        for walk in sorted(walks, key=lambda walk: -walk.start):
            if 0 <= seconds - walk.start < WALK_SECONDS:
                _draw(frame, walk, seconds - walk.start, bodies[walk.person], heads[walk.person], grain)
        yield frame


def sample_picture() -> Picture:
    """insightface's picture of six people, BGR.

    Raises:
        DemoClipError: the picture is missing or not the expected one.
    """
    # find_spec does not import the package, which would load ONNX Runtime.
    spec = importlib.util.find_spec("insightface")
    folders = spec.submodule_search_locations if spec else None
    if not folders:
        raise DemoClipError("the demo's faces come from the package insightface, which is not installed")
    path = Path(folders[0]) / SAMPLE
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DemoClipError(f"cannot read the demo's sample picture {path}: {error.strerror}") from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != SAMPLE_SHA256:
        raise DemoClipError(
            f"{path} is not the sample picture of the demo: sha256 {digest}, "
            f"expected {SAMPLE_SHA256}; install the insightface of requirements.lock"
        )
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), dtype=np.uint8)


def _head(sample: Picture, person: SamplePerson) -> Layer:
    """The head, with a soft edge as in a slightly blurred picture."""
    half = int(max(person.half_width, person.half_height) * 1.2)
    border = cv2.copyMakeBorder(sample, half, half, half, half, cv2.BORDER_REPLICATE)
    picture = np.asarray(
        border[person.y : person.y + 2 * half, person.x : person.x + 2 * half], dtype=np.uint8
    )
    mask = np.zeros(picture.shape[:2], np.uint8)
    axes = (person.half_width, person.half_height)
    cv2.ellipse(mask, (half, half), axes, person.lean, 0, 360, (255,), -1, cv2.LINE_AA)
    return Layer.cut(picture, np.asarray(cv2.GaussianBlur(mask, (0, 0), 4), dtype=np.uint8), (half, half))


def _body(person: SamplePerson) -> Layer:
    """Neck, shoulders, trunk and legs, drawn in units of half a head."""
    unit = person.half_height
    width, height, top = int(4.4 * unit), int(11 * unit), int(0.2 * unit)
    centre = width / 2

    def outline(points: tuple[tuple[float, float], ...]) -> NDArray[np.int32]:
        right = [(centre + x * unit, top + y * unit) for x, y in points]
        left = [(2 * centre - x, y) for x, y in reversed(right)]
        return np.asarray(right + left, dtype=np.int32)

    trunk = ((0.42, 0.9), (0.7, 1.2), (1.5, 1.5), (1.75, 1.9), (1.8, 3.4), (1.6, 5.2), (1.2, 5.4))
    legs = ((1.1, 5.2), (1.15, 6.5), (0.9, 10.5), (0.2, 10.5), (0.05, 6.5))
    neck = ((0.42, 0.3), (0.45, 1.25), (0.0, 1.5))
    picture = np.zeros((height, width, 3), np.uint8)
    mask = np.zeros((height, width), np.uint8)
    for points, colour in ((legs, (56, 48, 46)), (trunk, person.shirt), (neck, (96, 138, 196))):
        cv2.fillPoly(picture, [outline(points)], colour, cv2.LINE_AA)
        cv2.fillPoly(mask, [outline(points)], (255,), cv2.LINE_AA)
    # Shading of a round body: darker towards the sides, with faint folds.
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    shade = 1.12 - 0.5 * np.abs((x - centre) / centre) ** 2 + 0.025 * np.sin(x / 13 + 2 * np.sin(y / 67))
    soft = cv2.GaussianBlur(np.clip(picture * shade[:, :, None], 0, 255).astype(np.uint8), (0, 0), 3)
    return Layer.cut(
        np.asarray(soft, dtype=np.uint8),
        np.asarray(cv2.GaussianBlur(mask, (0, 0), 2), dtype=np.uint8),
        (centre, top),
    )


def _draw(
    frame: Picture, walk: Walk, seconds: float, body: list[Layer], head: list[Layer], grain: Grain
) -> None:
    x, y, size = place(walk, seconds)
    light = walk.light * (0.7 + 0.3 * min(1.0, 2 * seconds / WALK_SECONDS))
    step = _step(seconds)
    stamp(frame, body, (x, y), size, 1.2 * math.sin(step / 2), light, grain)
    stamp(frame, head, (x, y), size, walk.tilt * math.sin(step / 3), light, grain)


def _step(seconds: float) -> float:
    """Phase of the steps, in radians."""
    return 2 * math.pi * seconds / 1.1


def place(walk: Walk, seconds: float) -> tuple[float, float, float]:
    """Position of the head at this time after the start: x and y of its centre in pixels, and its size."""
    done = seconds / WALK_SECONDS
    size = FARTHEST * (walk.nearest / FARTHEST) ** done
    # From the door in the middle along a straight line past the camera, to the edge of the picture.
    lane = walk.side * (WIDTH / 2 + 60) / walk.nearest * min(1.0, 0.25 + 1.5 * done)
    x = WIDTH / 2 + (lane + 4 * math.sin(_step(seconds) / 2)) * size
    y = HORIZON + (45 + walk.lower + 5 * math.cos(_step(seconds))) * size
    return x, y, size


def _hall() -> Picture:
    """An empty hall with a door: a softly textured wall that never moves."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    cloud = np.random.default_rng(1).normal(0, 1, (HEIGHT // 40, WIDTH // 40)).astype(np.float32)
    texture = 5 * cv2.resize(cloud, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    glow = 1.05 - 0.35 * ((x - WIDTH / 2) / WIDTH) ** 2 - 0.25 * np.abs(y - 250) / HEIGHT
    wall = np.dstack([shade * glow + texture for shade in (112, 158, 196)])
    hall = np.clip(wall, 0, 255).astype(np.uint8)
    cv2.rectangle(hall, (0, 470), (WIDTH, HEIGHT), (70, 88, 108), -1)
    cv2.rectangle(hall, (0, 452), (WIDTH, 470), (150, 176, 196), -1)
    cv2.rectangle(hall, (DOOR[0] - 14, 190), (DOOR[1] + 14, 470), (160, 184, 204), -1)
    cv2.rectangle(hall, (DOOR[0], 204), (DOOR[1], 470), (44, 52, 60), -1)
    floor = (
        hall[470:].astype(np.float32) * (0.8 + 0.4 * (y[470:, :, None] - 470) / 250) + texture[470:, :, None]
    )
    hall[470:] = np.clip(floor, 0, 255).astype(np.uint8)
    return np.asarray(cv2.GaussianBlur(hall, (0, 0), 1.5), dtype=np.uint8)

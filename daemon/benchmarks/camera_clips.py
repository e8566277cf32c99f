"""What the cameras of a benchmark see: a hall where somebody walks by now and then, or given clips."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import cv2

from cameras.clips.decode_benchmark import frame_rate, length_seconds
from cameras.clips.write import splice, write_clip
from daemon.demo.clip import WALK_SECONDS, WALKS, hall_frames, sample_picture
from daemon.demo.layers import grains
from pipeline.types import Picture

WIDTH, HEIGHT, FPS = 1920, 1080, 25
KEY_FRAME_SECONDS = 2.0
BIT_RATE = 4_000_000
"""Bits a second, as usual for cameras of this size. Most of them are spent on the sensor's noise, and to
decode them takes three times as long as a picture without any."""
NOISE = 2.0
"""Its standard deviation, grey levels."""
VISITORS = (WALKS[0], WALKS[1], WALKS[4], WALKS[3])
"""Four people, one after the other."""
IDLE_PIECES = 150
"""Long enough to be played once: a clip that begins anew is decoded for a while, whatever is to be seen."""
PHASES = 32
"""So many cameras see different moments of a clip, drawn by chance, but the same each time: visitors come as
they come, now two at once and now nobody. The next cameras begin again at the first moment."""


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a clip, and at which seconds of the clip it begins each time."""

    path: Path
    starts: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip and the different pieces that it is made of; one piece where nothing is known about it."""

    path: Path
    fps: float
    seconds: float
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Playing:
    """What one camera plays: a clip that begins at `start` seconds of the whole, and there goes on anew."""

    clip: Clip
    path: Path
    start: float


def given_clip(path: Path) -> Clip:
    """A clip of the user's. Raises ClipError."""
    return Clip(path, frame_rate(path), length_seconds(path), (Part(path, (0.0,)),))


def hall_clip(path: Path, busy: float) -> Clip:
    """Full HD, 25 pictures a second, with somebody in view for this share of the time; 0 for nobody."""
    sample = sample_picture()
    idle = path.with_name("idle.mp4")
    still = round(KEY_FRAME_SECONDS * FPS)
    write_clip(idle, filmed(hall_frames(sample, (), still, FPS)), FPS, KEY_FRAME_SECONDS, BIT_RATE)
    if not busy:
        splice(path, [idle] * IDLE_PIECES)
        return Clip(path, FPS, IDLE_PIECES * KEY_FRAME_SECONDS, (Part(idle, (0.0,)),))
    # Whole groups of pictures, so that what follows begins with a key frame.
    walking = -(-round(WALK_SECONDS * FPS) // still)
    waiting = round(WALK_SECONDS / busy / KEY_FRAME_SECONDS) - walking
    pieces: list[Path] = []
    begins = 0.0
    parts = [Part(idle, (walking * KEY_FRAME_SECONDS,))]
    for number, walk in enumerate(VISITORS):
        part = path.with_name(f"walk{number}.mp4")
        frames = hall_frames(sample, (replace(walk, start=0.0),), walking * still, FPS)
        write_clip(part, filmed(frames), FPS, KEY_FRAME_SECONDS, BIT_RATE)
        parts.append(Part(part, (begins,)))
        pieces += [part, *[idle] * waiting]
        begins += (walking + waiting) * KEY_FRAME_SECONDS
    splice(path, pieces)
    return Clip(path, FPS, begins, tuple(parts))


def playing(clips: Sequence[Clip], folder: Path) -> Callable[[int], Playing]:
    """What the camera with a number plays. It is made when it is asked for, because each takes as much of the
    disk as the whole clip.

    A clip without the key frames to begin at plays from its start.
    """
    chance = random.Random(16)  # noqa: S311 - no secret
    begins = [0.0, *(chance.random() for _ in range(PHASES - 1))]

    @cache
    def made(phase: int, number: int) -> Playing:
        path = folder / f"clip{number}-{phase}.mp4"
        return Playing(clips[number], path, splice(path, [clips[number].path], begins[phase]))

    def played(camera: int) -> Playing:
        phase, number = divmod(camera, len(clips))
        return made(phase % PHASES, number)

    return played


def filmed(frames: Iterator[Picture]) -> Iterator[Picture]:
    """In full HD, by a sensor with noise: seven kinds in turn, as the encoder knows only the last frame."""
    noises = grains(WIDTH, HEIGHT, 7, NOISE)
    for number, frame in enumerate(frames):
        large = cv2.resize(frame, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
        yield noises[number % len(noises)].over(large)

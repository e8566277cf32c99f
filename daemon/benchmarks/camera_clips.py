"""The clips that benchmark cameras play: a generated hall with visitors, or given clips."""

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
"""Bits per second, usual for this size. Most of them encode sensor noise, which triples the decoding time."""
NOISE = 2.0
"""Standard deviation of the sensor noise, in grey levels."""
VISITORS = (WALKS[0], WALKS[1], WALKS[4], WALKS[3])
"""Four people, one after another."""
IDLE_PIECES = 150
"""Long enough to play once: a clip that restarts is decoded in full for a while."""
PHASES = 32
"""Number of start positions in a clip: random, so that visits overlap realistically, but equal in every run.
Further cameras start over with the first position."""


@dataclass(frozen=True, slots=True)
class ClipPart:
    """A piece of a clip, and the positions in the clip at which it occurs, in seconds."""

    path: Path
    starts: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip and its distinct pieces; one piece for a given clip."""

    path: Path
    fps: float
    seconds: float
    parts: tuple[ClipPart, ...]


@dataclass(frozen=True, slots=True)
class PlayedClip:
    """A clip as one camera plays it: in a loop from position `start`, in seconds."""

    clip: Clip
    path: Path
    start: float


def user_clip(path: Path) -> Clip:
    """A clip provided by the user. Raises ClipError."""
    return Clip(path, frame_rate(path), length_seconds(path), (ClipPart(path, (0.0,)),))


def hall_clip(path: Path, busy: float) -> Clip:
    """Full HD at 25 frames per second, with a person in view for the share `busy` of the time."""
    sample = sample_picture()
    idle = path.with_name("idle.mp4")
    still = round(KEY_FRAME_SECONDS * FPS)
    write_clip(idle, filmed(hall_frames(sample, (), still, FPS)), FPS, KEY_FRAME_SECONDS, BIT_RATE)
    if not busy:
        splice(path, [idle] * IDLE_PIECES)
        return Clip(path, FPS, IDLE_PIECES * KEY_FRAME_SECONDS, (ClipPart(idle, (0.0,)),))
    # Whole groups of pictures, so that the next piece begins with a key frame.
    walking = -(-round(WALK_SECONDS * FPS) // still)
    waiting = round(WALK_SECONDS / busy / KEY_FRAME_SECONDS) - walking
    pieces: list[Path] = []
    begins = 0.0
    parts = [ClipPart(idle, (walking * KEY_FRAME_SECONDS,))]
    for number, walk in enumerate(VISITORS):
        part = path.with_name(f"walk{number}.mp4")
        frames = hall_frames(sample, (replace(walk, start=0.0),), walking * still, FPS)
        write_clip(part, filmed(frames), FPS, KEY_FRAME_SECONDS, BIT_RATE)
        parts.append(ClipPart(part, (begins,)))
        pieces += [part, *[idle] * waiting]
        begins += (walking + waiting) * KEY_FRAME_SECONDS
    splice(path, pieces)
    return Clip(path, FPS, begins, tuple(parts))


def playing(clips: Sequence[Clip], folder: Path) -> Callable[[int], PlayedClip]:
    """A function that returns the clip of each camera, by number. Clips are created on demand, to save disk
    space.

    A clip without key frames to start at plays from its beginning.
    """
    chance = random.Random(16)  # noqa: S311 - no secret
    begins = [0.0, *(chance.random() for _ in range(PHASES - 1))]

    @cache
    def made(phase: int, number: int) -> PlayedClip:
        path = folder / f"clip{number}-{phase}.mp4"
        return PlayedClip(clips[number], path, splice(path, [clips[number].path], begins[phase]))

    def played(camera: int) -> PlayedClip:
        phase, number = divmod(camera, len(clips))
        return made(phase % PHASES, number)

    return played


def filmed(frames: Iterator[Picture]) -> Iterator[Picture]:
    """Scale to full HD and add sensor noise. Seven patterns suffice for the encoder."""
    noises = grains(WIDTH, HEIGHT, 7, NOISE)
    for number, frame in enumerate(frames):
        large = cv2.resize(frame, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
        yield noises[number % len(noises)].over(large)

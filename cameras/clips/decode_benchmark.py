"""Decoding a clip and nothing else: what the daemon's cost is measured against.

Packets to frames by the same decoder, on one thread; nobody converts, looks at or counts a frame.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import av

from cameras.errors import ClipError


@dataclass(frozen=True, slots=True)
class DecodeCost:
    frames: int
    key_frames: int
    """Of these."""
    cpu_seconds: float
    """Of this thread."""
    seconds: float


def decode(path: Path, seconds: float, *, paced: bool) -> DecodeCost:
    """Decode the clip again and again for so long, as fast as it was taken or as fast as it can be done.

    Raises ClipError where it cannot be read.
    """
    frames = keys = 0
    began, cpu = time.monotonic(), time.thread_time()
    due = 0.0
    try:
        while time.monotonic() - began < seconds:
            before = frames
            with av.open(str(path)) as container:
                stream = container.streams.video[0]
                stream.codec_context.thread_count = 1
                step = 1 / float(stream.average_rate or 25)
                for frame in container.decode(stream):
                    frames += 1
                    keys += frame.key_frame
                    due += step
                    passed = time.monotonic() - began
                    if passed >= seconds:
                        break
                    if paced and due > passed:
                        time.sleep(due - passed)
            if frames == before:
                raise ClipError(f"{path}: not one picture could be decoded")
    except av.FFmpegError as error:
        raise ClipError(f"{path}: it cannot be read: {error.strerror}") from error
    return DecodeCost(frames, keys, time.thread_time() - cpu, time.monotonic() - began)


def frame_rate(path: Path) -> float:
    """Frames a second, as the clip says. Raises ClipError where it cannot be read."""
    return _described(path)[0]


def length_seconds(path: Path) -> float:
    """How long the clip lasts. Raises ClipError where it cannot be read."""
    return _described(path)[1]


def _described(path: Path) -> tuple[float, float]:
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            rate = float(stream.average_rate or 25)
            return rate, stream.frames / rate if stream.frames else (container.duration or 0) / 1e6
    except (av.FFmpegError, IndexError) as error:
        raise ClipError(f"{path}: it cannot be read as a clip ({type(error).__name__})") from error

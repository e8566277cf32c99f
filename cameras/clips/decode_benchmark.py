"""Baseline for the daemon's cost: decodes a clip with the same decoder on one thread, without analysis."""

import time
from dataclasses import dataclass
from pathlib import Path

import av

from cameras.errors import ClipError


@dataclass(frozen=True, slots=True)
class DecodeCost:
    frames: int
    """Includes key frames."""
    key_frames: int
    cpu_seconds: float
    """CPU time of the decoding thread."""
    seconds: float


def decode(path: Path, seconds: float, *, paced: bool) -> DecodeCost:
    """Decode the clip repeatedly for `seconds`, in real time (`paced`) or as fast as possible.

    Raises:
        ClipError: the clip cannot be read.
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
                raise ClipError(f"{path}: no picture could be decoded")
    except av.FFmpegError as error:
        raise ClipError(f"{path}: cannot be read: {error.strerror}") from error
    return DecodeCost(frames, keys, time.thread_time() - cpu, time.monotonic() - began)


def frame_rate(path: Path) -> float:
    """Frames per second according to the metadata. Raises ClipError if the clip cannot be read."""
    return _metadata(path)[0]


def length_seconds(path: Path) -> float:
    """Duration of the clip. Raises ClipError if it cannot be read."""
    return _metadata(path)[1]


def _metadata(path: Path) -> tuple[float, float]:
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            rate = float(stream.average_rate or 25)
            return rate, stream.frames / rate if stream.frames else (container.duration or 0) / 1e6
    except (av.FFmpegError, IndexError) as error:
        raise ClipError(f"{path}: cannot be read as a clip ({type(error).__name__})") from error

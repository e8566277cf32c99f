"""Writes video files for the demo, tests and benchmarks."""

import io
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
from av.packet import Packet
from av.video.stream import VideoStream

from cameras.errors import ClipError
from pipeline.types import Picture


def write_clip(
    path: Path,
    frames: Iterable[Picture],
    fps: float,
    key_frame_seconds: float = 1.0,
    bit_rate: int | None = None,
) -> None:
    """Write pictures as H.264 into an mp4 file, atomically.

    frames: (height, width, 3) uint8 BGR, all of one size; an odd last row or column is cropped for YUV 4:2:0.
    bit_rate: bits per second; default: constant quality.

    Raises:
        ClipError: there are no pictures, their sizes differ, or the file cannot be written.
    """
    rate = Fraction(fps).limit_denominator(1001)
    # Encoded in memory, so that a full disk or a kill leaves no partial file under the final name.
    whole = io.BytesIO()
    try:
        with av.open(whole, mode="w", format="mp4") as container:
            _encode(container, frames, rate, max(1, round(fps * key_frame_seconds)), bit_rate)
    except av.FFmpegError as error:
        raise ClipError(f"{path}: the encoder refused the pictures: {error.strerror}") from error
    _write(path, whole)


def splice(path: Path, parts: Sequence[Path], start: float = 0.0) -> float:
    """Concatenate clips that `write_clip` made with the same settings, without encoding.

    start: 0 to 1, the position at which the result begins, rounded up to a key frame. The part before it is
    appended, so that cameras that play one clip show different scenes. Returns the actual position, in
    seconds.

    Raises:
        ClipError: a clip cannot be read, clips differ, or the file cannot be written.
    """
    whole = io.BytesIO()
    try:
        with av.open(whole, mode="w", format="mp4") as container:
            begin = _concatenate(container, parts, start)
    except av.FFmpegError as error:
        raise ClipError(f"{path}: the clips cannot be concatenated: {error.strerror}") from error
    _write(path, whole)
    return begin


def _concatenate(container: av.container.OutputContainer, parts: Sequence[Path], start: float) -> float:
    packets: list[tuple[Packet[VideoStream], int]] = []
    stream, at, base = None, 0, None
    for part in parts:
        with av.open(str(part)) as source:
            video = source.streams.video[0]
            if stream is None:
                stream, base = container.add_stream_from_template(video), video.time_base
            if video.time_base != base:
                raise ClipError(
                    f"{part}: the time base is {video.time_base} s; the clips before have {base} s"
                )
            length = 0
            for packet in source.demux(video):
                if packet.dts is not None:
                    packets.append((packet, at + packet.dts))
                    length = packet.dts + (packet.duration or 1)
            at += length
    if stream is None or not packets:
        raise ClipError("no clips to concatenate")
    keys = [number for number, (packet, _) in enumerate(packets) if packet.is_keyframe]
    first = next((number for number in keys if packets[number][1] >= start * at), 0)
    begin = packets[first][1]
    for packet, dts in [*packets[first:], *packets[:first]]:
        shift = (dts - begin) % at - (packet.dts or 0)
        packet.pts, packet.dts = (packet.pts or 0) + shift, (packet.dts or 0) + shift
        packet.stream = stream
        container.mux(packet)
    return float(begin * base) if base else 0.0


def _write(path: Path, whole: io.BytesIO) -> None:
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_bytes(whole.getbuffer())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise ClipError(f"{path}: the clip cannot be written: {error.strerror}") from error


def _encode(
    container: av.container.OutputContainer,
    frames: Iterable[Picture],
    rate: Fraction,
    key_every: int,
    bit_rate: int | None,
) -> None:
    stream = None
    size = None
    for number, picture in enumerate(frames):
        if stream is None:
            size = picture.shape
            # Cameras send key frames at fixed intervals; the encoder would add some at scene cuts.
            options = {"preset": "veryfast", "sc_threshold": "0"}
            if bit_rate is None:
                options["crf"] = "20"
            else:
                options |= {"b": str(bit_rate), "maxrate": str(bit_rate), "bufsize": str(2 * bit_rate)}
            stream = container.add_stream("libx264", rate=rate, options=options)
            stream.height, stream.width = (side // 2 * 2 for side in size[:2])
            stream.pix_fmt = "yuv420p"
            stream.codec_context.gop_size = key_every
            stream.codec_context.max_b_frames = 0  # as from cameras
            stream.codec_context.thread_type = "FRAME"  # one slice per picture, as from cameras
        if picture.shape != size:
            raise ClipError(f"picture {number} has the shape {picture.shape}, the pictures before it {size}")
        frame = av.VideoFrame.from_ndarray(picture[: stream.height, : stream.width], format="bgr24")
        frame.pts = number
        frame.time_base = 1 / rate
        container.mux(stream.encode(frame))
    if stream is None:
        raise ClipError("a clip needs at least one picture")
    container.mux(stream.encode(None))

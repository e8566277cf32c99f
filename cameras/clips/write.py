"""Writing pictures into a video file: the demo's clip, and what tests and benchmarks play."""

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
    """Write the pictures as H.264 into an mp4 file at `path`, which appears only when it is whole.

    frames: (height, width, 3) uint8 BGR, all of one size; an odd last row or column is cut off, because
    the usual YUV 4:2:0 has none. fps: pictures a second. bit_rate: bits a second, as a camera is told to
    send; as many as good pictures need unless told. Raises ClipError where there are no pictures,
    where sizes differ, and where the file cannot be written.
    """
    rate = Fraction(fps).limit_denominator(1001)
    # Encoded in memory first, so that a full disk or a kill leaves no half file under the final name.
    whole = io.BytesIO()
    try:
        with av.open(whole, mode="w", format="mp4") as container:
            _encode(container, frames, rate, max(1, round(fps * key_frame_seconds)), bit_rate)
    except av.FFmpegError as error:
        raise ClipError(f"{path}: the encoder refused the pictures: {error.strerror}") from error
    _write(path, whole)


def splice(path: Path, parts: Sequence[Path], start: float = 0.0) -> float:
    """Put clips that `write_clip` made alike one after another into an mp4 file, without encoding anything.

    `start`, 0 to 1: where in the whole it begins; what lies before comes at its end, cut at a key frame. So
    one clip gives many cameras of which no two see the same at the same time. Gives where it really begins,
    in seconds of the whole. Raises ClipError.
    """
    whole = io.BytesIO()
    try:
        with av.open(whole, mode="w", format="mp4") as container:
            begin = _join(container, parts, start)
    except av.FFmpegError as error:
        raise ClipError(f"{path}: the clips cannot be put together: {error.strerror}") from error
    _write(path, whole)
    return begin


def _join(container: av.container.OutputContainer, parts: Sequence[Path], start: float) -> float:
    packets: list[tuple[Packet[VideoStream], int]] = []
    stream, at, base = None, 0, None
    for part in parts:
        with av.open(str(part)) as source:
            video = source.streams.video[0]
            if stream is None:
                stream, base = container.add_stream_from_template(video), video.time_base
            if video.time_base != base:
                raise ClipError(f"{part}: it counts time in {video.time_base} s, those before it in {base} s")
            length = 0
            for packet in source.demux(video):
                if packet.dts is not None:
                    packets.append((packet, at + packet.dts))
                    length = packet.dts + (packet.duration or 1)
            at += length
    if stream is None or not packets:
        raise ClipError("nothing to put together")
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
            # Cameras send key frames by the clock; the encoder would add some wherever it is noisy.
            options = {"preset": "veryfast", "sc_threshold": "0"}
            if bit_rate is None:
                options["crf"] = "20"
            else:
                options |= {"b": str(bit_rate), "maxrate": str(bit_rate), "bufsize": str(2 * bit_rate)}
            stream = container.add_stream("libx264", rate=rate, options=options)
            stream.height, stream.width = (side // 2 * 2 for side in size[:2])
            stream.pix_fmt = "yuv420p"
            stream.codec_context.gop_size = key_every
            stream.codec_context.max_b_frames = 0  # cameras send none either
            stream.codec_context.thread_type = "FRAME"  # pictures in one slice, as cameras send them
        if picture.shape != size:
            raise ClipError(f"picture {number} has the shape {picture.shape}, those before it {size}")
        frame = av.VideoFrame.from_ndarray(picture[: stream.height, : stream.width], format="bgr24")
        frame.pts = number
        frame.time_base = 1 / rate
        container.mux(stream.encode(frame))
    if stream is None:
        raise ClipError("a clip needs at least one picture")
    container.mux(stream.encode(None))

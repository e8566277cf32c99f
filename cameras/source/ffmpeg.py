"""Opening, reading, decoding and closing one stream.

A source knows how to run once: it opens or fails, gives frames until the stream ends or breaks, and is
closed. Every way to fail is a SourceError with its reason; coming back is the worker's business.

FFmpeg's own messages and exceptions carry the URL with its password, so none of them leaves this module:
errors are raised anew, outside the handler, with no link to the original.
"""

import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from cameras.errors import Reason, SourceError
from cameras.load.decode_load import DecodeLoad
from cameras.load.keyframe_mode import KeyframeMode
from cameras.load.lag import LagLimiter
from cameras.settings import CameraSettings
from cameras.source.ffmpeg_errors import Phase, to_source_error
from cameras.source.nal import continues_picture
from cameras.source.pixels import Converter, DecodedPixels
from cameras.source.tls import ffmpeg_options, is_checked
from cameras.stream import DecodedFrame, NoFrame, StreamInfo, UndecodedPacket
from cameras.urls import UrlKind, local_path

_LEFTOVER_TOLERANCE = 0.98
_NO_TIMESTAMPS = 0x80
"""FFmpeg's AVFMT_NOTIMESTAMPS."""
_LARGEST_PICTURE_BYTES = 32 * 1024 * 1024


class FFmpegSource:
    """One open stream. Used by one thread; the frames it gave may be used by others."""

    def __init__(
        self,
        settings: CameraSettings,
        in_view: Callable[[], bool] = lambda: False,
        decode_load: DecodeLoad | None = None,
    ) -> None:
        """Open the stream.

        Blocks for up to connect_timeout_seconds for the answer and as long again for the first packets;
        FFmpeg offers no way to interrupt that.

        in_view: whether a face is in view; every frame is decoded then. decode_load: records the time spent
        decoding and says whether the camera is overloaded; without it, it never is.

        Raises:
            SourceError: the stream cannot be opened.
        """
        self._settings = settings
        self._container = _open(settings)
        try:
            _check_playlist(self._container, settings)
            self._video = _video_stream(self._container, settings)
            self.info = _info(self._container, self._video, settings.kind)
        except SourceError:
            self._container.close()
            raise
        self._converter = Converter(settings.crash_tag)
        base = self._video.time_base
        # Where a camera sends no timestamps, FFmpeg makes some up from a frame rate that it makes up as well.
        made_up = not self.info.recorded and self._container.format.flags & _NO_TIMESTAMPS
        # Whole numbers, because to calculate with fractions takes twenty times as long.
        self._tick = None if base is None or made_up else (base.numerator, base.denominator)
        """Of the stream's clock, in seconds; None where it has none."""
        # In a recording each packet is a whole picture.
        self._continues_picture = None if self.info.recorded else continues_picture(self.info.codec)
        self._in_parts = False
        self._held: Packet[Stream] | None = None
        # Nobody keeps up with a recording that is read as fast as it can be, or only for its frames.
        self._in_time = decode_load is not None and not (self.info.recorded and settings.speed == "fast")
        self._effort = decode_load = decode_load or DecodeLoad()
        keyframes = settings.decode == "keyframes"
        self._keyframe_mode = KeyframeMode(self, in_view, lambda: keyframes or decode_load.overloaded)
        self._lag = None if self.info.recorded else LagLimiter(decode_load, in_view)

    def frames(self) -> Iterator[DecodedFrame | NoFrame | UndecodedPacket]:
        """Everything up to the end of a recording. SourceError when the stream breaks, stalls, or is live
        and ends: a dead RTSP server looks like the end of a file."""
        packets = self._container.demux()
        while True:
            asked_at = time.monotonic()
            packet = self._next(packets)
            if packet is None:
                break
            waited = time.monotonic() - asked_at
            # After its timeout FFmpeg first hands out what its parser still held, and waits once more.
            if not self.info.recorded and waited >= self._settings.read_timeout_seconds * _LEFTOVER_TOLERANCE:
                raise self._stalled()
            if packet.stream.index == self._video.index:
                yield from self._take(packet)
            else:
                yield NoFrame(corrupt=False)
        yield from self._keyframe_mode.decode_buffered()
        if not self.info.recorded:
            raise SourceError(Reason.ENDED, f"{self._settings.masked_url}: the camera closed the connection")

    def close(self) -> None:
        self._container.close()

    # Packet takes its parameter in the stubs alone, so these annotations are text.
    def _next(self, packets: "Iterator[Packet[Stream]]") -> "Packet[Stream] | None":
        try:
            return next(packets, None)
        except av.FFmpegError as error:
            failure = to_source_error(error, self._settings, Phase.READING)
        raise failure

    # Lists and not generators, as generators in generators are dear: what runs between two frames, some 40 ms
    # apart, finds nothing of itself in the processor's caches.
    def _take(self, packet: "Packet[Stream]") -> Iterable[DecodedFrame | NoFrame | UndecodedPacket]:
        """Decode, but where the camera sends its pictures in parts, only once all of a picture is there: one
        packet later than usual, because nothing marks the last part."""
        part = self._continues_picture is not None and self._continues_picture(bytes(packet))
        if part and not self._in_parts:
            # The part before it was decoded for a whole picture; this one can only be thrown away.
            self._in_parts = True
            return [NoFrame(corrupt=True)]
        if not self._in_parts:
            return self._take_whole(packet)
        if part and self._held is not None and self._held.size < _LARGEST_PICTURE_BYTES:
            self._held = _joined(self._held, packet)
            return []
        before, self._held = self._held, packet
        return [] if before is None else self._take_whole(before)

    def _take_whole(self, packet: "Packet[Stream]") -> Iterable[DecodedFrame | NoFrame | UndecodedPacket]:
        arrived_at = time.time()
        if self._lag is None:
            return self._keyframe_mode.process(packet, arrived_at)
        seconds = self.seconds(packet)
        drops = self._lag.drops(packet.is_keyframe, seconds, time.monotonic())
        if not drops:
            return self._keyframe_mode.process(packet, arrived_at)
        self._keyframe_mode.interrupt()
        return [UndecodedPacket(seconds, dropped=True)]

    # cameras.load.keyframe_mode.Decoder
    def decode(self, packet: "Packet[Stream]", arrived_at: float) -> Sequence[DecodedFrame | NoFrame]:
        frames, seconds = self._timed(packet.decode)
        if frames is None:
            # One damaged packet is no reason to reconnect; the decoder goes on with the next key frame.
            return [NoFrame(corrupt=True)]
        if not frames:
            return [NoFrame(corrupt=packet.is_corrupt)]
        return [self._decoded(frame, arrived_at, seconds / len(frames)) for frame in frames]

    def decode_alone(self, packet: "Packet[Stream]", arrived_at: float) -> Sequence[DecodedFrame | NoFrame]:
        self.reset()
        # A decoder that puts frames into order holds the newest back until it hears that it was the last.
        frames, seconds = self._timed(lambda: [*packet.decode(), *self._video.codec_context.decode(None)])
        self.reset()
        if not frames:
            return [NoFrame(corrupt=True)]
        return [self._decoded(frame, arrived_at, seconds) for frame in frames]

    def _timed(self, decode: Callable[[], Sequence[object]]) -> tuple[Sequence[object] | None, float]:
        """What it gives, None where it fails, and how long it takes once it is its turn."""
        asked_at = time.perf_counter()
        with self._effort.limit():
            began = time.perf_counter()
            try:
                frames = decode()
            except av.FFmpegError:
                frames = None
            ended = time.perf_counter()
        if self._in_time:
            self._effort.record(ended - asked_at)
        return frames, ended - began

    def reset(self) -> None:
        self._video.codec_context.flush_buffers()

    def seconds(self, packet: "VideoFrame | Packet[Stream]") -> float | None:
        if packet.pts is None or self._tick is None:
            return None
        numerator, denominator = self._tick
        return packet.pts * numerator / denominator

    def _decoded(self, frame: object, arrived_at: float, seconds: float) -> DecodedFrame | NoFrame:
        if not isinstance(frame, VideoFrame) or frame.is_corrupt:
            return NoFrame(corrupt=True)
        return DecodedFrame(DecodedPixels(frame, self._converter), self.seconds(frame), arrived_at, seconds)

    def _stalled(self) -> SourceError:
        seconds = self._settings.read_timeout_seconds
        return SourceError(Reason.STALLED, f"{self._settings.masked_url}: nothing came for {seconds:g} s")


def _joined(first: "Packet[Stream]", second: "Packet[Stream]") -> "Packet[Stream]":
    whole: Packet[Stream] = Packet(bytes(first) + bytes(second))
    whole.stream, whole.time_base, whole.pts, whole.dts = first.stream, first.time_base, first.pts, first.dts
    whole.is_keyframe = first.is_keyframe
    return whole


def _open(settings: CameraSettings) -> InputContainer:
    if settings.kind is UrlKind.FILE:
        _check_file(settings)
    options = _options(settings)
    try:
        return _try_to_open(settings, options)
    except SourceError as error:
        if error.reason is not Reason.UNSUPPORTED or "allowed_media_types" not in options:
            raise
    # Asked for pictures alone, some cameras refuse, and those without pictures do too: ask for everything.
    del options["allowed_media_types"]
    return _try_to_open(settings, options)


def _try_to_open(settings: CameraSettings, options: dict[str, str]) -> InputContainer:
    began = time.monotonic()
    try:
        return av.open(
            settings.connect_url(),
            "r",
            format="v4l2" if settings.kind is UrlKind.DEVICE else None,
            options=options,
            metadata_errors="replace",
            timeout=(settings.connect_timeout_seconds, settings.read_timeout_seconds),
        )
    except av.FFmpegError as error:
        late = time.monotonic() - began >= settings.connect_timeout_seconds
        failure = to_source_error(error, settings, Phase.OPENING_LATE if late else Phase.OPENING)
    raise failure


def _options(settings: CameraSettings) -> dict[str, str]:
    match settings.kind:
        case UrlKind.RTSP:
            # Sound is not wanted; unasked it would cost bandwidth and hide a stalled picture.
            # To count frames before the first one is handed out would cost a second, with slow cameras ten.
            return {
                "rtsp_transport": settings.transport,
                "allowed_media_types": "video",
                "fpsprobesize": "0",
                **ffmpeg_options(settings),
            }
        case UrlKind.FILE:
            # A playlist that poses as a clip must not make us call other servers.
            return {"protocol_whitelist": "file,crypto,data"}
        case UrlKind.HTTP:
            return ffmpeg_options(settings)
        case UrlKind.DEVICE:
            return {}


def _check_file(settings: CameraSettings) -> None:
    path = local_path(settings.url)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise SourceError(Reason.NOT_FOUND, f"{path}: there is no such file") from None
    except OSError as error:
        raise SourceError(Reason.PERMISSION, f"{path}: {error.strerror}") from None
    if not stat.S_ISREG(mode):
        # Opening a named pipe would block for ever, out of reach of every timeout.
        raise SourceError(Reason.UNSUPPORTED, f"{path}: this is no regular file")


def _check_playlist(container: InputContainer, settings: CameraSettings) -> None:
    if is_checked(settings) and not {"hls", "dash"}.isdisjoint(container.format.name.split(",")):
        # FFmpeg does not hand the TLS options down to the connections on which it fetches the segments.
        message = (
            "a playlist's segments are read without a check of certificates; allow it by tls_verify = false"
        )
        raise SourceError(Reason.UNSUPPORTED, f"{settings.masked_url}: {message}")


def _video_stream(container: InputContainer, settings: CameraSettings) -> VideoStream:
    # A cover picture in a sound file is a stream of one frame, not a video.
    candidates = [
        stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic
    ]
    if not candidates:
        raise SourceError(Reason.NO_VIDEO, f"{settings.masked_url}: the stream carries no pictures")
    video = candidates[0]
    if video.codec_context is None:
        raise SourceError(Reason.UNSUPPORTED, f"{settings.masked_url}: no decoder for its codec is built in")
    # One thread a camera: more would only take limiter with the other cameras, and delay frames.
    video.codec_context.thread_count = 1
    return video


def _info(container: InputContainer, video: VideoStream, kind: UrlKind) -> StreamInfo:
    rate = video.average_rate or video.guessed_rate
    fps = float(rate) if rate is not None and 0 < rate <= 1000 else None
    recorded = kind is UrlKind.FILE or (kind is UrlKind.HTTP and container.duration is not None)
    context = video.codec_context
    return StreamInfo(context.name, context.width, context.height, fps, recorded)

"""Reads, decodes and closes one stream with FFmpeg.

A source runs once: it opens or fails, yields frames until the stream ends or breaks, and is closed. Every
failure is a SourceError with its reason; the handler retries.

FFmpeg's exceptions carry the URL with its password, so none of them leaves this module: errors are raised
outside the handler, without a link to the original.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction

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
from cameras.source.connection_hints import ConnectionHints
from cameras.source.container import DECODER_OPTIONS
from cameras.source.ffmpeg_errors import Phase, to_source_error
from cameras.source.first_picture import FirstPictureFilter
from cameras.source.geometry import Orientation, orientation_of
from cameras.source.nal import continues_picture
from cameras.source.open_camera import OpenStream, open_camera
from cameras.source.pixels import Converter, DecodedPixels
from cameras.stream import DecodedFrame, NoFrame, StreamInfo, UndecodedPacket
from cameras.urls import UrlKind

_LEFTOVER_TOLERANCE = 0.98
_NO_TIMESTAMPS = 0x80
"""FFmpeg's AVFMT_NOTIMESTAMPS."""
_LARGEST_PICTURE_BYTES = 32 * 1024 * 1024


class FFmpegSource:
    """One open stream. Used by one thread; its frames may be used by others."""

    def __init__(
        self,
        settings: CameraSettings,
        in_view: Callable[[], bool] = lambda: False,
        decode_load: DecodeLoad | None = None,
        hints: ConnectionHints | None = None,
    ) -> None:
        """Open the stream; blocks as `open_container` does.

        in_view: whether a face is in view; every frame is decoded then. decode_load: records the time spent
        decoding; without it, the camera never counts as overloaded. hints: shared by the connections of one
        camera.

        Raises:
            SourceError: the stream cannot be opened.
        """
        self._settings = settings
        self._stream = open_camera(settings, hints or ConnectionHints())
        container = self._container = self._stream.container
        try:
            self._video = _video_stream(container, settings)
            self.info = _info(self._stream, self._video, settings.kind)
        except SourceError:
            self.close()
            raise
        self._timeout_seconds = settings.read_timeout_seconds + (self._stream.interval_seconds or 0.0)
        self._converter = Converter(settings.crash_tag)
        base = self._video.time_base
        # Without timestamps from the camera, FFmpeg makes them up from a made-up frame rate.
        invented = not self.info.recorded and self._container.format.flags & _NO_TIMESTAMPS
        # Integers: arithmetic with Fraction takes twenty times as long.
        self._tick = None if base is None or invented else (base.numerator, base.denominator)
        """Time base of the stream; None for a stream without timestamps."""
        # In a recording each packet is a whole picture.
        self._continues_picture = None if self.info.recorded else continues_picture(self.info.codec)
        self._sliced = False
        self._aspect_ratio: Fraction | None = None
        """Pixel aspect ratio."""
        self._orientation: Orientation | None = None
        self._first_picture: FirstPictureFilter | None = FirstPictureFilter(self.info.codec)
        """None after the first undamaged picture."""
        self._interlaced: VideoFrame | None = None
        """The last frame, if it was interlaced."""
        self._pending: Packet[Stream] | None = None
        # A recording that waits for the analysis cannot fall behind.
        self._measures_load = decode_load is not None and not (self.info.recorded and settings.is_lossless)
        self._decode_load = decode_load = decode_load or DecodeLoad()
        keyframes = settings.decode == "keyframes"
        self._keyframe_mode = KeyframeMode(self, in_view, lambda: keyframes or decode_load.overloaded)
        self._lag = None if self.info.recorded else LagLimiter(decode_load, in_view)

    def frames(self) -> Iterator[DecodedFrame | NoFrame | UndecodedPacket]:
        """Yield every frame up to the end of a recording.

        Raises:
            SourceError: the stream breaks, stalls, or is live and ends; a dead RTSP server looks like the end
                of a file.
        """
        packets = self._container.demux()
        received = False
        while True:
            requested_at = time.monotonic()
            packet = self._next_packet(packets)
            if packet is None:
                break
            waited = time.monotonic() - requested_at
            # After a timeout FFmpeg first returns a packet that its parser had buffered, and then waits
            # again.
            if not self.info.recorded and waited >= self._timeout_seconds * _LEFTOVER_TOLERANCE:
                raise self._stalled()
            if not received:
                received = True
                self._stream.received()
            if packet.stream.index == self._video.index:
                yield from self._process(packet)
            else:
                yield NoFrame(corrupt=False)
        yield from self._keyframe_mode.decode_buffered()
        if not self.info.recorded:
            raise SourceError(Reason.ENDED, f"{self._settings.masked_url}: the camera closed the connection")

    def close(self) -> None:
        self._stream.close()

    # Packet is generic in the stubs only, so these annotations are strings.
    def _next_packet(self, packets: "Iterator[Packet[Stream]]") -> "Packet[Stream] | None":
        try:
            return next(packets, None)
        except av.FFmpegError as error:
            failure = to_source_error(error, self._settings, Phase.READING)
        raise failure

    # Lists: nested generators are slow, because the code between two frames, 40 ms apart, finds cold caches.
    def _process(self, packet: "Packet[Stream]") -> Iterable[DecodedFrame | NoFrame | UndecodedPacket]:
        """Decode a packet, after joining the slices of a picture. The last slice is recognised only when the
        next packet has arrived."""
        continues = self._continues_picture is not None and self._continues_picture(bytes(packet))
        if continues and not self._sliced:
            # The previous slice was decoded as a whole picture, so this slice can only be dropped.
            self._sliced = True
            return [NoFrame(corrupt=True)]
        if not self._sliced:
            return self._process_picture(packet)
        if continues and self._pending is not None and self._pending.size < _LARGEST_PICTURE_BYTES:
            self._pending = _join(self._pending, packet)
            return []
        before, self._pending = self._pending, packet
        return [] if before is None else self._process_picture(before)

    def _process_picture(
        self, packet: "Packet[Stream]"
    ) -> Iterable[DecodedFrame | NoFrame | UndecodedPacket]:
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
        if self._first_picture is not None:
            self._first_picture.packet(packet.is_keyframe)
        frames, seconds = self._timed(packet.decode)
        if frames is None:
            # One damaged packet is no reason to reconnect; the decoder recovers at the next key frame.
            return [
                NoFrame(corrupt=True) if self._first_picture is None else self._first_picture.no_picture()
            ]
        if not frames:
            waits = self._first_picture is not None
            return [NoFrame(corrupt=packet.is_corrupt, awaits_key_frame=waits)]
        return [self._decoded(frame, arrived_at, seconds / len(frames)) for frame in frames]

    def decode_alone(self, packet: "Packet[Stream]", arrived_at: float) -> Sequence[DecodedFrame | NoFrame]:
        self.reset()
        # A decoder that reorders frames returns the newest only when it is flushed.
        frames, seconds = self._timed(lambda: [*packet.decode(), *self._video.codec_context.decode(None)])
        self.reset()
        if not frames:
            return [NoFrame(corrupt=True)]
        return [self._decoded(frame, arrived_at, seconds) for frame in frames]

    def _timed(self, decode: Callable[[], Sequence[object]]) -> tuple[Sequence[object] | None, float]:
        """Decode and measure. Returns the frames, None if decoding fails, and the seconds that it took."""
        requested_at = time.perf_counter()
        with self._decode_load.limit():
            began = time.perf_counter()
            try:
                frames = decode()
            except av.FFmpegError:
                frames = None
            ended = time.perf_counter()
        if self._measures_load:
            self._decode_load.record(ended - requested_at)
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
            return NoFrame(corrupt=True) if self._first_picture is None else self._first_picture.no_picture()
        if self._first_picture is not None:
            if not self._first_picture.is_undamaged(frame):
                return self._first_picture.no_picture()
            self._first_picture = None
        if frame.key_frame or self._orientation is None:
            # Reading it takes longer than the rest of this method.
            self._aspect_ratio, self._orientation = self._read_aspect_ratio(), orientation_of(frame)
        previous = None
        if frame.interlaced_frame:
            previous, self._interlaced = self._interlaced, frame
            if previous is not None and (previous.width, previous.height) != (frame.width, frame.height):
                previous = None
        pixels = DecodedPixels(frame, self._converter, self._aspect_ratio, self._orientation, previous)
        return DecodedFrame(pixels, self.seconds(frame), arrived_at, seconds)

    def _read_aspect_ratio(self) -> Fraction | None:
        """The pixel aspect ratio. A recording's container wins over its codec; a live stream may change
        it."""
        in_container = self._video.sample_aspect_ratio if self.info.recorded else None
        return in_container or self._video.codec_context.sample_aspect_ratio

    def _stalled(self) -> SourceError:
        seconds = self._settings.read_timeout_seconds
        return SourceError(Reason.STALLED, f"{self._settings.masked_url}: no data for {seconds:g} s")


def _join(first: "Packet[Stream]", second: "Packet[Stream]") -> "Packet[Stream]":
    whole: Packet[Stream] = Packet(bytes(first) + bytes(second))
    whole.stream, whole.time_base, whole.pts, whole.dts = first.stream, first.time_base, first.pts, first.dts
    whole.is_keyframe = first.is_keyframe
    return whole


def _video_stream(container: InputContainer, settings: CameraSettings) -> VideoStream:
    # A cover picture in an audio file is a stream of one frame, not a video.
    candidates = [
        stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic
    ]
    if not candidates:
        raise SourceError(Reason.NO_VIDEO, f"{settings.masked_url}: the stream has no video")
    video = candidates[0]
    if video.codec_context is None:
        raise SourceError(Reason.UNSUPPORTED, f"{settings.masked_url}: FFmpeg has no decoder for its codec")
    video.codec_context.options = DECODER_OPTIONS
    # One thread per camera: more would compete with the other cameras and delay frames.
    video.codec_context.thread_count = 1
    return video


def _info(stream: OpenStream, video: VideoStream, kind: UrlKind) -> StreamInfo:
    rate = video.average_rate or video.guessed_rate
    fps = float(rate) if rate is not None and 0 < rate <= 1000 else None
    if stream.interval_seconds is not None:
        fps = 1 / stream.interval_seconds
    recorded = kind is UrlKind.FILE or (kind is UrlKind.HTTP and stream.container.duration is not None)
    context = video.codec_context
    return StreamInfo(context.name, context.width, context.height, fps, recorded)

"""Decodes only key frames while nothing happens, without losing the beginning of a visit.

Decoding one key frame every second or two costs a thirtieth of decoding everything. The packets since the
last key frame are buffered. When a key frame shows motion, or a face is in view, the buffer is decoded, and
then every packet, until no face is in view and the scene is empty again, or does not change between two key
frames. No part of a visit is lost; it is analysed up to one key frame interval later.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

from cameras.load.motion import MotionGate
from cameras.stream import DecodedFrame, NoFrame, UndecodedPacket

MAX_BUFFER_SECONDS = 5.0
"""Maximum age of the buffer, so that rare key frames do not delay a visit."""

MOTION_MEMORY_SECONDS = 0.01
"""So short that each key frame is compared with the one before it. Between two key frames even a slow person
moves, and with a longer memory a person who left would count as motion for 15 s."""

SCENE_CHECK_INTERVAL_SECONDS = 0.5
"""While decoding everything, interval between checks whether the scene is empty again."""

MIN_CHECK_INTERVAL_SECONDS = 0.5
"""Key frames that arrive more often, as with JPEG, are buffered like other packets."""

MAX_BUFFER_BYTES = 16 * 2**20
"""Maximum size of a camera's buffer; about 30 s of a typical stream."""


class CodedPacket(Protocol):
    """A packet of one whole picture."""

    @property
    def is_keyframe(self) -> bool: ...
    @property
    def size(self) -> int: ...


class Decoder(Protocol):
    """The decoder of one stream."""

    def decode(self, packet: Any, arrived_at: float) -> Sequence[DecodedFrame | NoFrame]:  # noqa: ANN401
        """The frames of a packet that follows the one before."""
        ...

    def decode_alone(self, packet: Any, arrived_at: float) -> Sequence[DecodedFrame | NoFrame]:  # noqa: ANN401
        """Decode a key frame's packet by itself. Resets the decoder."""
        ...

    def reset(self) -> None:
        """Discard the decoder's state; a key frame follows."""
        ...

    def seconds(self, packet: Any) -> float | None:  # noqa: ANN401
        """The packet's timestamp, None where missing."""
        ...


class KeyframeMode:
    """Keyframe mode of one camera; active from the first key frame on, until something happens.

    `in_view` returns whether a face is in view; it is called often, and may lag a little. `is_allowed`
    returns whether the mode may be active now; otherwise everything is decoded.
    """

    def __init__(
        self, decoder: Decoder, in_view: Callable[[], bool], is_allowed: Callable[[], bool] = lambda: True
    ) -> None:
        self._decoder = decoder
        self._in_view = in_view
        self._is_allowed = is_allowed
        self._gate = MotionGate(MOTION_MEMORY_SECONDS)
        self._buffer: list[tuple[CodedPacket, float]] = []
        """The last key frame and all packets since; empty where incomplete or too large."""
        self._buffered_bytes = 0
        self._active = False
        self._has_reference = False
        self._checked_at: float | None = None
        """Timestamp of the last checked key frame; its arrival time if it has no timestamp."""
        self._last_seconds: float | None = None
        """Timestamp of the newest frame that was returned."""
        self._scene_checked_at: float | None = None
        """Timestamp of the frame at which the scene was last checked for being empty."""

    def process(
        self, packet: CodedPacket, arrived_at: float
    ) -> Iterable[DecodedFrame | NoFrame | UndecodedPacket]:
        """Process the next packet; returns the frames that it makes available.

        An empty packet marks the end of a recording: the buffer and the decoder are flushed. arrived_at: Unix
        time.
        """
        if not packet.size:
            return self._flush(packet, arrived_at)
        if not self._is_allowed():
            return self._decode_unbuffered(packet, arrived_at)
        if packet.is_keyframe and self._is_check_due(packet, arrived_at):
            return (
                self._check_while_active(packet, arrived_at)
                if self._active
                else self._check_while_decoding(packet, arrived_at)
            )
        if self._buffer:
            self._append(packet, arrived_at)
        if not self._active:
            return self._decode(packet, arrived_at)
        if self._in_view() or self._is_full(arrived_at):
            return self.decode_buffered()
        return [UndecodedPacket(self._decoder.seconds(packet))]

    def interrupt(self) -> None:
        """Handle a gap in the packets; the next call of `process` gets a key frame."""
        self._active = False
        self._clear()
        self._decoder.reset()

    def decode_buffered(self) -> Iterator[DecodedFrame | NoFrame]:
        """Decode the buffer and leave keyframe mode."""
        if not self._active:
            return
        self._active = False
        self._decoder.reset()
        for number, (packet, arrived_at) in enumerate(list(self._buffer)):
            for item in self._decoder.decode(packet, arrived_at):
                # The key frame itself was returned when it arrived.
                if isinstance(item, DecodedFrame) and self._is_new(item, first=number == 0):
                    self._scene_checked_at = item.stream_seconds
                    yield from self._hand_over(item.as_late())

    def _decode_unbuffered(self, packet: CodedPacket, arrived_at: float) -> Iterable[DecodedFrame | NoFrame]:
        if self._active:
            return self._leave(packet, arrived_at)
        # The buffer would have a gap if keyframe mode became allowed before the next key frame.
        self._clear()
        return self._decoder.decode(packet, arrived_at)

    def _leave(self, packet: CodedPacket, arrived_at: float) -> Iterator[DecodedFrame | NoFrame]:
        yield from self.decode_buffered()
        self._clear()
        yield from self._decoder.decode(packet, arrived_at)

    def _is_check_due(self, packet: CodedPacket, arrived_at: float) -> bool:
        seconds = self._decoder.seconds(packet)
        seconds = arrived_at if seconds is None else seconds
        if self._checked_at is not None and abs(seconds - self._checked_at) < MIN_CHECK_INTERVAL_SECONDS:
            return False
        self._checked_at = seconds
        return True

    def _flush(self, packet: CodedPacket, arrived_at: float) -> Iterator[DecodedFrame | NoFrame]:
        yield from self.decode_buffered()
        for item in self._decoder.decode(packet, arrived_at):
            yield from self._hand_over(item)

    def _decode(self, packet: CodedPacket, arrived_at: float) -> Iterator[DecodedFrame | NoFrame]:
        if self._is_full(arrived_at):
            self._clear()
        for item in self._decoder.decode(packet, arrived_at):
            yield from self._hand_over(item)
            if self._buffer and isinstance(item, DecodedFrame) and self._is_scene_empty(item):
                self._active = True

    def _check_while_decoding(
        self, packet: CodedPacket, arrived_at: float
    ) -> Iterator[DecodedFrame | NoFrame]:
        self._restart(packet, arrived_at)
        moving = False
        for item in self._decoder.decode(packet, arrived_at):
            moving |= self._moves(item)
            yield from self._hand_over(item)
        if not moving and not self._in_view():
            self._activate()

    def _check_while_active(self, packet: CodedPacket, arrived_at: float) -> Iterator[DecodedFrame | NoFrame]:
        """Check a key frame for motion. If something moves, the buffer is decoded first."""
        alone = self._decoder.decode_alone(packet, arrived_at)
        moving = [self._moves(item) for item in alone]
        if any(moving) or self._in_view():
            yield from self.decode_buffered()
            alone = self._decoder.decode(packet, arrived_at)
        self._restart(packet, arrived_at)
        for item in alone:
            yield from self._hand_over(item)
        if self._active:
            self._activate()

    def _hand_over(self, item: DecodedFrame | NoFrame) -> Iterator[DecodedFrame | NoFrame]:
        if isinstance(item, DecodedFrame):
            self._last_seconds = item.stream_seconds
        yield item

    def _is_new(self, item: DecodedFrame, first: bool) -> bool:
        if item.stream_seconds is None or self._last_seconds is None:
            return not first
        return item.stream_seconds > self._last_seconds

    def _moves(self, item: DecodedFrame | NoFrame) -> bool:
        if not isinstance(item, DecodedFrame):
            return True  # a damaged picture may hide motion
        luma = item.pixels.luma()
        seconds = item.arrived_at if item.stream_seconds is None else item.stream_seconds
        moves = self._gate.moves(luma, seconds)
        # The first key frame has no reference. Waiting for the second loses nothing: all packets are
        # buffered.
        first, self._has_reference = not self._has_reference, True
        return moves and not first and not self._gate.is_empty(luma)

    def _is_scene_empty(self, item: DecodedFrame) -> bool:
        """Whether the scene is empty again, checked between key frames. Needs timestamps."""
        seconds, checked = item.stream_seconds, self._scene_checked_at
        if seconds is None or (checked is not None and abs(seconds - checked) < SCENE_CHECK_INTERVAL_SECONDS):
            return False
        self._scene_checked_at = seconds
        return not self._in_view() and self._gate.is_empty(item.pixels.luma())

    def _activate(self) -> None:
        self._active = True
        self._gate.remember_empty()

    def _restart(self, packet: CodedPacket, arrived_at: float) -> None:
        """Restart the buffer with this key frame."""
        self._clear()
        self._append(packet, arrived_at)

    def _append(self, packet: CodedPacket, arrived_at: float) -> None:
        self._buffer.append((packet, arrived_at))
        self._buffered_bytes += packet.size

    def _clear(self) -> None:
        self._buffer, self._buffered_bytes = [], 0

    def _is_full(self, now: float) -> bool:
        if not self._buffer:
            return False
        return self._buffered_bytes > MAX_BUFFER_BYTES or now - self._buffer[0][1] > MAX_BUFFER_SECONDS

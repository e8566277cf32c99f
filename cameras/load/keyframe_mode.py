"""Decoding only key frames while nothing happens, without losing what happens.

A key frame stands alone, and to decode one every second or two is thirty times cheaper than to decode
everything. Whoever dozes so keeps the packets since the last key frame. When a key frame shows that something
has moved, or a face is in view, the kept packets are decoded after all, then everything, until no face is in
view and the scene is what it was before all that, or is at least the same at two key frames. So of a visit at
which one dozed off nothing is lost: it is seen an interval of key frames later.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

from cameras.load.motion import MotionGate
from cameras.stream import DecodedFrame, NoFrame, UndecodedPacket

MAX_BUFFER_SECONDS = 5.0
"""The camera is looked at, and is known to be alive, at least so often, however rare its key frames are."""

MOTION_MEMORY_SECONDS = 0.01
"""A key frame is compared with the one before it: within their interval even a creeping person moves, and
where somebody has left, a longer memory would see their shadow for a quarter of a minute."""

SCENE_CHECK_INTERVAL_SECONDS = 0.5
"""Who is awake asks so often whether everybody has left."""

MIN_CHECK_INTERVAL_SECONDS = 0.5
"""Key frames that come more often, as with JPEG, are kept in between like all others."""

MAX_BUFFER_BYTES = 16 * 2**20
"""A camera's packets are kept up to this size; some 30 s of a usual stream."""


class CodedPacket(Protocol):
    """A packet of one whole picture."""

    @property
    def is_keyframe(self) -> bool: ...
    @property
    def size(self) -> int: ...


class Decoder(Protocol):
    """One stream's decoder, for packets of its own kind."""

    def decode(self, packet: Any, arrived_at: float) -> Sequence[DecodedFrame | NoFrame]:  # noqa: ANN401
        """What the packet gives, after those before it."""
        ...

    def decode_alone(self, packet: Any, arrived_at: float) -> Sequence[DecodedFrame | NoFrame]:  # noqa: ANN401
        """What a key frame's packet gives without its neighbours. The decoder begins anew after it."""
        ...

    def reset(self) -> None:
        """Forget what came before: a key frame follows."""
        ...

    def seconds(self, packet: Any) -> float | None:  # noqa: ANN401
        """Its timestamp in the stream."""
        ...


class KeyframeMode:
    """Keyframe mode of one camera; active from the first key frame on, until something happens.

    `in_view` says whether a face is in view; it is called often, and may lag a little. `is_allowed` says
    whether the mode may be active now; otherwise everything is decoded.
    """

    def __init__(
        self, decoder: Decoder, in_view: Callable[[], bool], is_allowed: Callable[[], bool] = lambda: True
    ) -> None:
        self._decoder = decoder
        self._in_view = in_view
        self._is_allowed = is_allowed
        self._gate = MotionGate(MOTION_MEMORY_SECONDS)
        self._buffer: list[tuple[CodedPacket, float]] = []
        """The last key frame and all that came since; empty where that is not known or too much."""
        self._buffered_bytes = 0
        self._active = False
        self._has_reference = False
        self._checked_at: float | None = None
        """The time of the key frame that was looked at last, in the stream where it tells."""
        self._last_seconds: float | None = None
        """The timestamp of the newest frame that was handed over."""
        self._scene_checked_at: float | None = None
        """The timestamp of the frame in which it was asked last whether everybody has left."""

    def process(
        self, packet: CodedPacket, arrived_at: float
    ) -> Iterable[DecodedFrame | NoFrame | UndecodedPacket]:
        """The next packet, which arrived at this unix time: the frames that it gives now.

        An empty one is the end of a recording: what is kept is decoded, and what the decoder held back.
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
        """Packets are missing; the next one that it is given is a key frame."""
        self._active = False
        self._clear()
        self._decoder.reset()

    def decode_buffered(self) -> Iterator[DecodedFrame | NoFrame]:
        """Decode what is kept; then everything, until nothing happens any more."""
        if not self._active:
            return
        self._active = False
        self._decoder.reset()
        for number, (packet, arrived_at) in enumerate(list(self._buffer)):
            for item in self._decoder.decode(packet, arrived_at):
                # The key frame itself was handed over when it came.
                if isinstance(item, DecodedFrame) and self._is_new(item, first=number == 0):
                    self._scene_checked_at = item.stream_seconds
                    yield from self._hand_over(item.as_late())

    def _decode_unbuffered(self, packet: CodedPacket, arrived_at: float) -> Iterable[DecodedFrame | NoFrame]:
        if self._active:
            return self._leave(packet, arrived_at)
        # What is kept would have a gap, where it may doze again before the next key frame.
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
        """At a key frame while asleep: it is the newest frame, or the last one of those that were kept."""
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
            return True  # a damaged picture shows nothing, so one does not rely on it
        luma = item.pixels.luma()
        seconds = item.arrived_at if item.stream_seconds is None else item.stream_seconds
        moves = self._gate.moves(luma, seconds)
        # The first one cannot tell; whether the one after it differs is soon enough, since all is kept.
        first, self._has_reference = not self._has_reference, True
        return moves and not first and not self._gate.is_empty(luma)

    def _is_scene_empty(self, item: DecodedFrame) -> bool:
        """Asked between key frames. What was handed over already is told by its timestamp, if need be."""
        seconds, checked = item.stream_seconds, self._scene_checked_at
        if seconds is None or (checked is not None and abs(seconds - checked) < SCENE_CHECK_INTERVAL_SECONDS):
            return False
        self._scene_checked_at = seconds
        return not self._in_view() and self._gate.is_empty(item.pixels.luma())

    def _activate(self) -> None:
        self._active = True
        self._gate.remember_empty()

    def _restart(self, packet: CodedPacket, arrived_at: float) -> None:
        """Nothing before this key frame is needed any more."""
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

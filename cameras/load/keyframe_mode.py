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
from cameras.stream import Decoded, Kept, Nothing

LONGEST_SECONDS = 5.0
"""The camera is looked at, and is known to be alive, at least so often, however rare its key frames are."""

MEMORY_SECONDS = 0.01
"""A key frame is compared with the one before it: within their interval even a creeping person moves, and
where somebody has left, a longer memory would see their shadow for a quarter of a minute."""

CHECK_SECONDS = 0.5
"""Who is awake asks so often whether everybody has left."""

LOOK_SECONDS = 0.5
"""Key frames that come more often, as with JPEG, are kept in between like all others."""

MOST_BYTES = 16 * 2**20
"""A camera's packets are kept up to this size; some 30 s of a usual stream."""


class Coded(Protocol):
    """A packet of one whole picture."""

    @property
    def is_keyframe(self) -> bool: ...
    @property
    def size(self) -> int: ...


class Decoder(Protocol):
    """One stream's decoder, for packets of its own kind."""

    def decode(self, packet: Any, arrived_at: float) -> Sequence[Decoded | Nothing]:  # noqa: ANN401
        """What the packet gives, after those before it."""
        ...

    def decode_alone(self, packet: Any, arrived_at: float) -> Sequence[Decoded | Nothing]:  # noqa: ANN401
        """What a key frame's packet gives without its neighbours. The decoder begins anew after it."""
        ...

    def reset(self) -> None:
        """Forget what came before: a key frame follows."""
        ...

    def seconds(self, packet: Any) -> float | None:  # noqa: ANN401
        """Its timestamp in the stream."""
        ...


class Doze:
    """One camera's. It dozes from its first key frame on, unless something happens.

    `in_view` says whether a face is in view; it is asked often, and may answer a little late. `may_doze` says
    whether it may doze at present; else everything is decoded.
    """

    def __init__(
        self, decoder: Decoder, in_view: Callable[[], bool], may_doze: Callable[[], bool] = lambda: True
    ) -> None:
        self._decoder = decoder
        self._in_view = in_view
        self._may_doze = may_doze
        self._gate = MotionGate(MEMORY_SECONDS)
        self._kept: list[tuple[Coded, float]] = []
        """The last key frame and all that came since; empty where that is not known or too much."""
        self._bytes = 0
        self._asleep = False
        self._has_looked = False
        self._looked_at: float | None = None
        """The time of the key frame that was looked at last, in the stream where it tells."""
        self._shown: float | None = None
        """The timestamp of the newest frame that was handed over."""
        self._checked: float | None = None
        """The timestamp of the frame in which it was asked last whether everybody has left."""

    def take(self, packet: Coded, arrived_at: float) -> Iterable[Decoded | Nothing | Kept]:
        """The next packet, which arrived at this unix time: the frames that it gives now.

        An empty one is the end of a recording: what is kept is decoded, and what the decoder held back.
        """
        if not packet.size:
            return self._end(packet, arrived_at)
        if not self._may_doze():
            return self._stay_awake(packet, arrived_at)
        if packet.is_keyframe and self._is_looked_at(packet, arrived_at):
            return self._look(packet, arrived_at) if self._asleep else self._look_awake(packet, arrived_at)
        if self._kept:
            self._keep(packet, arrived_at)
        if not self._asleep:
            return self._awake(packet, arrived_at)
        if self._in_view() or self._is_full(arrived_at):
            return self.wake()
        return [Kept(self._decoder.seconds(packet))]

    def interrupt(self) -> None:
        """Packets are missing; the next one that it is given is a key frame."""
        self._asleep = False
        self._forget()
        self._decoder.reset()

    def wake(self) -> Iterator[Decoded | Nothing]:
        """Decode what is kept; then everything, until nothing happens any more."""
        if not self._asleep:
            return
        self._asleep = False
        self._decoder.reset()
        for number, (packet, arrived_at) in enumerate(list(self._kept)):
            for item in self._decoder.decode(packet, arrived_at):
                # The key frame itself was handed over when it came.
                if isinstance(item, Decoded) and self._is_new(item, first=number == 0):
                    self._checked = item.stream_seconds
                    yield from self._hand_over(item.as_late())

    def _stay_awake(self, packet: Coded, arrived_at: float) -> Iterable[Decoded | Nothing]:
        if self._asleep:
            return self._go_on(packet, arrived_at)
        # What is kept would have a gap, where it may doze again before the next key frame.
        self._forget()
        return self._decoder.decode(packet, arrived_at)

    def _go_on(self, packet: Coded, arrived_at: float) -> Iterator[Decoded | Nothing]:
        yield from self.wake()
        self._forget()
        yield from self._decoder.decode(packet, arrived_at)

    def _is_looked_at(self, packet: Coded, arrived_at: float) -> bool:
        seconds = self._decoder.seconds(packet)
        seconds = arrived_at if seconds is None else seconds
        if self._looked_at is not None and abs(seconds - self._looked_at) < LOOK_SECONDS:
            return False
        self._looked_at = seconds
        return True

    def _end(self, packet: Coded, arrived_at: float) -> Iterator[Decoded | Nothing]:
        yield from self.wake()
        for item in self._decoder.decode(packet, arrived_at):
            yield from self._hand_over(item)

    def _awake(self, packet: Coded, arrived_at: float) -> Iterator[Decoded | Nothing]:
        if self._is_full(arrived_at):
            self._forget()
        for item in self._decoder.decode(packet, arrived_at):
            yield from self._hand_over(item)
            if self._kept and isinstance(item, Decoded) and self._all_have_left(item):
                self._asleep = True

    def _look_awake(self, packet: Coded, arrived_at: float) -> Iterator[Decoded | Nothing]:
        self._begin(packet, arrived_at)
        moving = False
        for item in self._decoder.decode(packet, arrived_at):
            moving |= self._moves(item)
            yield from self._hand_over(item)
        if not moving and not self._in_view():
            self._fall_asleep()

    def _look(self, packet: Coded, arrived_at: float) -> Iterator[Decoded | Nothing]:
        """At a key frame while asleep: it is the newest frame, or the last one of those that were kept."""
        alone = self._decoder.decode_alone(packet, arrived_at)
        moving = [self._moves(item) for item in alone]
        if any(moving) or self._in_view():
            yield from self.wake()
            alone = self._decoder.decode(packet, arrived_at)
        self._begin(packet, arrived_at)
        for item in alone:
            yield from self._hand_over(item)
        if self._asleep:
            self._fall_asleep()

    def _hand_over(self, item: Decoded | Nothing) -> Iterator[Decoded | Nothing]:
        if isinstance(item, Decoded):
            self._shown = item.stream_seconds
        yield item

    def _is_new(self, item: Decoded, first: bool) -> bool:
        if item.stream_seconds is None or self._shown is None:
            return not first
        return item.stream_seconds > self._shown

    def _moves(self, item: Decoded | Nothing) -> bool:
        if not isinstance(item, Decoded):
            return True  # a damaged picture shows nothing, so one does not rely on it
        luma = item.pixels.luma()
        seconds = item.arrived_at if item.stream_seconds is None else item.stream_seconds
        moves = self._gate.moves(luma, seconds)
        # The first one cannot tell; whether the one after it differs is soon enough, since all is kept.
        first, self._has_looked = not self._has_looked, True
        return moves and not first and not self._gate.is_empty(luma)

    def _all_have_left(self, item: Decoded) -> bool:
        """Asked between key frames. What was handed over already is told by its timestamp, if need be."""
        seconds, checked = item.stream_seconds, self._checked
        if seconds is None or (checked is not None and abs(seconds - checked) < CHECK_SECONDS):
            return False
        self._checked = seconds
        return not self._in_view() and self._gate.is_empty(item.pixels.luma())

    def _fall_asleep(self) -> None:
        self._asleep = True
        self._gate.remember_empty()

    def _begin(self, packet: Coded, arrived_at: float) -> None:
        """Nothing before this key frame is needed any more."""
        self._forget()
        self._keep(packet, arrived_at)

    def _keep(self, packet: Coded, arrived_at: float) -> None:
        self._kept.append((packet, arrived_at))
        self._bytes += packet.size

    def _forget(self) -> None:
        self._kept, self._bytes = [], 0

    def _is_full(self, now: float) -> bool:
        if not self._kept:
            return False
        return self._bytes > MOST_BYTES or now - self._kept[0][1] > LONGEST_SECONDS

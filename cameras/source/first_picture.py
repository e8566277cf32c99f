"""Holds back the pictures of a connection until its first undamaged key frame.

A connection may begin between two key frames. Pictures that follow a missing or damaged key frame show grey
areas and smears, and the decoder does not mark all of them as damaged.
"""

from av.video.frame import VideoFrame

from cameras.stream import NoFrame

_UNMARKED_DAMAGE = frozenset({"hevc", "vvc"})
"""Codecs whose decoders return pictures without a preceding key frame, and do not mark them as damaged."""


class FirstPictureFilter:
    """Used for the packets of one connection up to its first undamaged picture."""

    def __init__(self, codec: str) -> None:
        self._needs_key_frame = codec in _UNMARKED_DAMAGE
        self._key_frame_received = self._key_frame_was_damaged = False

    def packet(self, is_key_frame: bool) -> None:
        """A packet is about to be decoded."""
        self._key_frame_received |= is_key_frame

    def no_picture(self) -> NoFrame:
        """Record a packet that could not be decoded, or whose picture is damaged; returns the item to
        yield."""
        if self._key_frame_received:
            self._key_frame_was_damaged = True
        return NoFrame(corrupt=self._key_frame_received, awaits_key_frame=True)

    def is_undamaged(self, frame: VideoFrame) -> bool:
        """Whether a frame that the decoder does not mark as damaged is the first undamaged picture."""
        return frame.key_frame or not (self._needs_key_frame or self._key_frame_was_damaged)

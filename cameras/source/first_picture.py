"""Holds back the pictures of a connection until its first sound key frame.

A connection may begin anywhere between two key frames. What follows a missing or damaged key frame shows grey
areas and smears, and the decoder does not always say so.
"""

from av.video.frame import VideoFrame

from cameras.stream import NoFrame

_OPAQUE = frozenset({"hevc", "vvc"})
"""Codecs whose decoders return pictures without a key frame, and do not mark them."""


class FirstPictureFilter:
    """The pictures up to the first sound one."""

    def __init__(self, codec: str) -> None:
        self._needs_key_frame = codec in _OPAQUE
        self._key_frame_came = self._key_frame_was_damaged = False

    def packet(self, is_key_frame: bool) -> None:
        """A packet is about to be decoded."""
        self._key_frame_came |= is_key_frame

    def no_picture(self) -> NoFrame:
        """What a packet means that could not be decoded, or whose picture is damaged."""
        if self._key_frame_came:
            self._key_frame_was_damaged = True
        return NoFrame(corrupt=self._key_frame_came, awaits_key_frame=True)

    def is_sound(self, frame: VideoFrame) -> bool:
        """Whether the pictures begin with this one, which the decoder takes for whole."""
        return frame.key_frame or not (self._needs_key_frame or self._key_frame_was_damaged)

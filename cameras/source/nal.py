"""Detects slices: packets that continue the picture of the previous packet.

An H.264 or H.265 picture may be split into slices. The last packet of a picture carries the RTP marker bit
(RFC 6184, 5.1). Some senders mark every slice; the demuxer then returns each slice as a separate packet,
with the same timestamp, and the decoder treats each as a damaged picture.

The first slice of a picture has `first_mb_in_slice` 0 in H.264 (ITU-T H.264, 7.3.3) and
`first_slice_segment_in_pic_flag` 1 in H.265 (ITU-T H.265, 7.3.6.1). In both, the first bit is 1.
"""

from collections.abc import Callable

START_CODE = b"\x00\x00\x01"

H264_SLICES = (1, 5)
"""NAL unit types of non-IDR and IDR slices; data partitioning is not in use."""

H265_LAST_SLICE = 31
"""NAL unit types up to this one are slice segments."""

FIRST_BIT = 0x80

ContinuesPicture = Callable[[bytes], bool]
"""Whether a packet in Annex B format continues the picture of the previous packet."""


def continues_picture(codec: str) -> ContinuesPicture | None:
    """The test for this codec; None where a packet is always a whole picture."""
    return {"h264": h264_continues_picture, "hevc": h265_continues_picture}.get(codec)


def h264_continues_picture(packet: bytes) -> bool:
    """A `ContinuesPicture` for H.264; False for a packet without a slice."""
    at = packet.find(START_CODE)
    while 0 <= at < len(packet) - 4:
        if packet[at + 3] & 0x1F in H264_SLICES:
            # An unsigned Exp-Golomb number starts with a 1 bit if and only if it is 0.
            return not packet[at + 4] & FIRST_BIT
        at = packet.find(START_CODE, at + 3)
    return False


def h265_continues_picture(packet: bytes) -> bool:
    """A `ContinuesPicture` for H.265; False for a packet without a slice."""
    at = packet.find(START_CODE)
    while 0 <= at < len(packet) - 5:
        if (packet[at + 3] >> 1) & 0x3F <= H265_LAST_SLICE:
            return not packet[at + 5] & FIRST_BIT
        at = packet.find(START_CODE, at + 3)
    return False

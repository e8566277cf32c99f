"""Pictures that arrive in parts.

A picture of H.264 or H.265 may be cut into slices. The last packet of a picture carries
a mark in RTP (RFC 6184, 5.1); some senders mark every slice, and then the demuxer hands
out each slice as a packet of its own, with the same timestamp. A decoder takes those for
separate pictures, each of them damaged.

Whether a packet goes on with the picture before it stands in its first slice: H.264's
`first_mb_in_slice` is not 0 there (ITU-T H.264, 7.3.3), H.265's
`first_slice_segment_in_pic_flag` is 0 (ITU-T H.265, 7.3.6.1). Both are read off one bit.
"""

from collections.abc import Callable

START_CODE = b"\x00\x00\x01"

H264_SLICES = (1, 5)
"""NAL unit types of a slice of another and of an IDR picture; partitioned ones are not in use."""

H265_LAST_SLICE = 31
"""NAL unit types up to this one are slice segments."""

FIRST_BIT = 0x80

ContinuesPicture = Callable[[bytes], bool]
"""Whether a packet, in Annex B form, goes on with the picture of the packet before it."""


def continues_picture(codec: str) -> ContinuesPicture | None:
    """The test for this codec, or None where pictures are never cut into packets."""
    return {"h264": h264_continues_picture, "hevc": h265_continues_picture}.get(codec)


def h264_continues_picture(packet: bytes) -> bool:
    """A `ContinuesPicture` for H.264; False for what holds no slice."""
    at = packet.find(START_CODE)
    while 0 <= at < len(packet) - 4:
        if packet[at + 3] & 0x1F in H264_SLICES:
            # An unsigned Exp-Golomb number begins with a 1 bit if and only if it is 0.
            return not packet[at + 4] & FIRST_BIT
        at = packet.find(START_CODE, at + 3)
    return False


def h265_continues_picture(packet: bytes) -> bool:
    """A `ContinuesPicture` for H.265; False for what holds no slice."""
    at = packet.find(START_CODE)
    while 0 <= at < len(packet) - 5:
        if (packet[at + 3] >> 1) & 0x3F <= H265_LAST_SLICE:
            return not packet[at + 5] & FIRST_BIT
        at = packet.find(START_CODE, at + 3)
    return False

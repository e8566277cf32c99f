import av
import pytest

from cameras.source.nal import START_CODE, continues_picture
from tests.clips import moving_pictures

SLICES = 4


def sliced_pictures(path, codec: str) -> list[list[bytes]]:
    """Pictures of a real encoder in Annex B form, each as its slices; parameter sets stand with the first."""
    pictures = []
    stream_options = {
        "libx264": {"x264-params": f"slices={SLICES}:sliced-threads=0:annexb=1", "preset": "ultrafast"},
        "libx265": {"x265-params": f"slices={SLICES}:annexb=1:log-level=none", "preset": "ultrafast"},
    }[codec]
    with av.open(str(path), "w", format="h264" if codec == "libx264" else "hevc") as container:
        stream = container.add_stream(codec, rate=10, options=stream_options)
        stream.width, stream.height, stream.pix_fmt = 320, 256, "yuv420p"
        for picture in moving_pictures(6, 320, 256):
            frame = av.VideoFrame.from_ndarray(picture, "bgr24")
            pictures += [bytes(packet) for packet in stream.encode(frame)]
        pictures += [bytes(packet) for packet in stream.encode(None)]
    return [slices_of(picture, codec) for picture in pictures if picture]


def slices_of(picture: bytes, codec: str) -> list[bytes]:
    units = [START_CODE + unit for unit in picture.split(START_CODE)[1:]]
    parts, waiting = [], b""
    for unit in units:
        waiting += unit
        is_slice = unit[3] & 0x1F in (1, 5) if codec == "libx264" else (unit[3] >> 1) & 0x3F <= 31
        if is_slice:
            parts.append(waiting)
            waiting = b""
    return parts


@pytest.mark.parametrize(("codec", "name"), [("libx264", "h264"), ("libx265", "hevc")])
def test_slices_after_the_first_continue_the_picture(tmp_path, codec, name):
    """For every picture, with and without parameter sets before the slice."""
    pictures = sliced_pictures(tmp_path / "sliced", codec)
    test = continues_picture(name)
    assert len(pictures) >= 6
    for parts in pictures:
        assert len(parts) == SLICES
        assert [test(part) for part in parts] == [False, *[True] * (SLICES - 1)]


@pytest.mark.parametrize("packet", [b"", START_CODE, START_CODE + b"\x65", b"\x00" * 50, b"\xff" * 50])
@pytest.mark.parametrize("name", ["h264", "hevc"])
def test_a_packet_without_a_slice_continues_nothing(packet, name):
    """The decoder reports what is wrong with it."""
    assert not continues_picture(name)(packet)


def test_other_codecs_are_not_checked_for_slices():
    """Their packets are always whole pictures."""
    assert continues_picture("mjpeg") is None

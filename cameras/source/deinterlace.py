"""Removes the combs of interlaced frames, whose odd and even lines were taken at different times."""

from fractions import Fraction

from av.filter import Graph
from av.video.frame import VideoFrame


def deinterlaced(frame: VideoFrame, previous: VideoFrame | None) -> VideoFrame:
    """The frame at the time of one of its fields, at full height.

    previous: the frame before. Where nothing moved since, both fields are kept. Elsewhere, and without it,
    one field is interpolated.
    """
    graph = Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 1000)
    )
    # bwdif takes a single frame for a still scene, and leaves the combs.
    name, options = ("w3fdif", "mode=frame") if previous is None else ("bwdif", "mode=send_frame")
    deinterlacer, sink = graph.add(name, options), graph.add("buffersink")
    source.link_to(deinterlacer)
    deinterlacer.link_to(sink)
    graph.configure()
    # The frame is also its own successor, because a delay of one frame is too long.
    for item in [frame] if previous is None else [previous, frame, frame]:
        source.push(item)
    source.push(None)
    for _ in range(0 if previous is None else 1):
        graph.vpull()
    return graph.vpull()

"""Removes the combing of interlaced frames, whose odd and even lines were captured at different times."""

from fractions import Fraction

from av.filter import Graph
from av.video.frame import VideoFrame


def deinterlaced(frame: VideoFrame, previous: VideoFrame | None) -> VideoFrame:
    """Deinterlace a frame to full height, at the time of one of its fields.

    previous: the previous frame. Both fields are kept where nothing moved since then; elsewhere, and without
    a previous frame, one field is interpolated.
    """
    graph = Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 1000)
    )
    # bwdif takes a single frame for a still scene, and leaves the combing.
    name, options = ("w3fdif", "mode=frame") if previous is None else ("bwdif", "mode=send_frame")
    deinterlacer, sink = graph.add(name, options), graph.add("buffersink")
    source.link_to(deinterlacer)
    deinterlacer.link_to(sink)
    graph.configure()
    # The frame stands in for the next one too: waiting for the real next frame would take too long.
    for item in [frame] if previous is None else [previous, frame, frame]:
        source.push(item)
    source.push(None)
    for _ in range(0 if previous is None else 1):
        graph.vpull()
    return graph.vpull()

"""Pixels of decoded frames, converted on demand."""

import threading

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from cameras.source.crash_tag import with_crash_tag
from pipeline.types import Picture

_MAX_SCALERS = 4

# Formats whose first plane is 8-bit luma.
_LUMA_FIRST = frozenset(
    {"gray", "nv12", "nv21", "nv16", "nv24"}
    | {f"yuv{range_}4{chroma}p" for range_ in ("", "j") for chroma in ("10", "11", "20", "22", "40", "44")}
)


class Converter:
    """Converts frames to other formats and sizes. Caches the scalers of the last sizes.

    Several threads may convert frames of one camera, so each conversion holds a lock.
    """

    def __init__(self, crash_tag: str = "convert") -> None:
        """crash_tag: names the camera in the traceback of a crash during a conversion."""
        self._lock = threading.Lock()
        self.convert = with_crash_tag(crash_tag, self._convert)
        self._scalers: dict[tuple[int, int, str], VideoReformatter] = {}

    def _convert(self, frame: VideoFrame, width: int, height: int, pixel_format: str) -> NDArray[np.uint8]:
        """Returns (height, width, 3) for bgr24, (height, width) for gray."""
        key = (width, height, pixel_format)
        with self._lock:
            scaler = self._scalers.pop(key, None) or VideoReformatter()
            self._scalers[key] = scaler  # most recently used
            if len(self._scalers) > _MAX_SCALERS:
                del self._scalers[next(iter(self._scalers))]
            # AREA keeps small faces free of aliasing when a picture shrinks, and is no slower than BILINEAR.
            converted = scaler.reformat(
                frame, width, height, pixel_format, interpolation=Interpolation.AREA, threads=1
            )
        return np.asarray(converted.to_ndarray(), dtype=np.uint8)


class DecodedPixels:
    """Pixels of a decoded frame, converted on demand; implements `pipeline.types.Pixels`.

    Applies the rotation of 90, 180 or 270 degrees that the stream's metadata asks for.
    """

    def __init__(self, frame: VideoFrame, converter: Converter) -> None:
        self._frame = frame
        self._converter = converter

    @property
    def _quarter_turns(self) -> int:
        """Counterclockwise."""
        return round(self._frame.rotation / 90) % 4

    @property
    def width(self) -> int:
        return self._frame.height if self._quarter_turns % 2 else self._frame.width

    @property
    def height(self) -> int:
        return self._frame.width if self._quarter_turns % 2 else self._frame.height

    def luma(self) -> NDArray[np.uint8]:
        """Luma, (height, width) uint8; a read-only view of the decoder's memory where possible."""
        frame = self._frame
        if frame.format.name in _LUMA_FIRST:
            plane = frame.planes[0]
            rows = np.frombuffer(memoryview(plane), np.uint8)[: plane.line_size * frame.height]
            luma = rows.reshape(frame.height, plane.line_size)[:, : frame.width]
            luma.flags.writeable = False
        else:
            luma = self._converter.convert(frame, frame.width, frame.height, "gray")
        return np.rot90(luma, self._quarter_turns) if self._quarter_turns else luma

    def bgr(self, width: int | None = None, height: int | None = None) -> Picture:
        """BGR picture, at full size or scaled to width × height."""
        width, height = width or self.width, height or self.height
        if self._quarter_turns % 2:
            width, height = height, width
        picture = self._converter.convert(self._frame, width, height, "bgr24")
        if not self._quarter_turns:
            return picture
        return np.ascontiguousarray(np.rot90(picture, self._quarter_turns))

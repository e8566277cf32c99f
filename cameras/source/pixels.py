"""Pixels of decoded frames, converted on demand."""

import threading
from fractions import Fraction
from functools import cached_property

import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from cameras.source.crash_tag import with_crash_tag
from cameras.source.deinterlace import deinterlaced
from cameras.source.geometry import Orientation, orientation_of, square_size
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
            grows = width > frame.width or height > frame.height
            interpolation = Interpolation.BICUBIC if grows else Interpolation.AREA
            converted = scaler.reformat(
                frame, width, height, pixel_format, interpolation=interpolation, threads=1
            )
        return np.asarray(converted.to_ndarray(), dtype=np.uint8)


class DecodedPixels:
    """Pixels of a decoded frame, converted on demand; implements `pipeline.types.Pixels`.

    Deinterlaced, upright and with square pixels according to the stream's metadata.
    """

    def __init__(
        self,
        frame: VideoFrame,
        converter: Converter,
        aspect_ratio: Fraction | None = None,
        orientation: Orientation | None = None,
        previous: VideoFrame | None = None,
    ) -> None:
        """aspect_ratio: of a pixel; None for square. orientation: default: the frame's own. previous: the
        previous frame if the stream is interlaced."""
        self._coded = frame
        self._converter = converter
        self._orientation = orientation_of(frame) if orientation is None else orientation
        self._previous = previous
        self._size = square_size(frame.width, frame.height, aspect_ratio)
        self._lock = threading.Lock()

    @property
    def _frame(self) -> VideoFrame:
        if not self._coded.interlaced_frame:
            return self._coded
        with self._lock:
            return self._deinterlaced

    @cached_property
    def _deinterlaced(self) -> VideoFrame:
        before, self._previous = self._previous, None
        return deinterlaced(self._coded, before)

    @property
    def width(self) -> int:
        return self._size[1 if self._orientation.transposed else 0]

    @property
    def height(self) -> int:
        return self._size[0 if self._orientation.transposed else 1]

    def luma(self) -> NDArray[np.uint8]:
        """Luma, (height, width) uint8; a read-only view of the decoder's memory where possible."""
        frame = self._frame
        if frame.format.name in _LUMA_FIRST:
            plane = frame.planes[0]
            rows = np.frombuffer(memoryview(plane), np.uint8)[: plane.line_size * frame.height]
            luma = rows.reshape(frame.height, plane.line_size)[:, : frame.width]
        else:
            luma = self._converter.convert(frame, frame.width, frame.height, "gray")
        if self._size != (frame.width, frame.height):
            luma = np.asarray(cv2.resize(luma, self._size, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
        luma.flags.writeable = False
        return self._orientation.apply(luma)

    def bgr(self, width: int | None = None, height: int | None = None) -> Picture:
        """BGR picture, at full size or scaled to width × height."""
        width, height = width or self.width, height or self.height
        if self._orientation.transposed:
            width, height = height, width
        picture = self._converter.convert(self._frame, width, height, "bgr24")
        return np.ascontiguousarray(self._orientation.apply(picture))

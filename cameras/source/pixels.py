"""The pixels of decoded frames, converted only when somebody asks for them."""

import threading

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from cameras.source.crash_tag import with_crash_tag
from pipeline.types import Picture

_SIZES_REMEMBERED = 4

# Formats whose first plane is the picture's brightness, a byte a pixel.
_LUMA_FIRST = frozenset(
    {"gray", "nv12", "nv21", "nv16", "nv24"}
    | {f"yuv{range_}4{chroma}p" for range_ in ("", "j") for chroma in ("10", "11", "20", "22", "40", "44")}
)


class Converter:
    """Turns frames into other formats and sizes; keeps what it prepared for the sizes used last.

    A camera's frames are converted by whoever analyses them, so every conversion holds a lock.
    """

    def __init__(self, crash_tag: str = "convert") -> None:
        """`crash_tag`: what tracebacks call a conversion, because a fault inside it ends the process."""
        self._lock = threading.Lock()
        self.convert = with_crash_tag(crash_tag, self._convert)
        self._prepared: dict[tuple[int, int, str], VideoReformatter] = {}

    def _convert(self, frame: VideoFrame, width: int, height: int, pixel_format: str) -> NDArray[np.uint8]:
        """(height, width, 3) for bgr24, (height, width) for gray."""
        key = (width, height, pixel_format)
        with self._lock:
            reformatter = self._prepared.pop(key, None) or VideoReformatter()
            self._prepared[key] = reformatter  # last used, last in line to go
            if len(self._prepared) > _SIZES_REMEMBERED:
                del self._prepared[next(iter(self._prepared))]
            # AREA keeps small faces free of aliasing when a picture shrinks, and is no slower than BILINEAR.
            converted = reformatter.reformat(
                frame, width, height, pixel_format, interpolation=Interpolation.AREA, threads=1
            )
        return np.asarray(converted.to_ndarray(), dtype=np.uint8)


class DecodedPixels:
    """The pixels of a decoded frame, converted only when somebody asks for them; `pipeline.types.Pixels`.

    A frame whose stream says that the camera hangs turned by 90, 180 or 270 degrees is turned upright.
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
        """Brightness, (height, width) uint8; a read-only view of the decoder's own memory where it can be."""
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
        """The picture in BGR, at full size or scaled to width × height."""
        width, height = width or self.width, height or self.height
        if self._quarter_turns % 2:
            width, height = height, width
        picture = self._converter.convert(self._frame, width, height, "bgr24")
        if not self._quarter_turns:
            return picture
        return np.ascontiguousarray(np.rot90(picture, self._quarter_turns))

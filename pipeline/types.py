"""Data types of the pipeline.

Pictures are numpy arrays of shape (height, width, 3), dtype uint8, colour order BGR,
unless a name says otherwise. Coordinates are pixels of the full-size frame, x to the
right and y down, the origin at the top-left corner of the top-left pixel.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, Literal, NamedTuple, NotRequired, Protocol, TypedDict

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""(height, width, 3) uint8, BGR."""

Facen = NDArray[np.float32]
"""(size,) float32, L2-normalised."""


class Rectangle(NamedTuple):
    """A box in pixels. It may lie partly outside the picture, with negative coordinates."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top

    @property
    def area(self) -> float:
        """Area in square pixels; 0 if right < left or bottom < top."""
        return max(0.0, self.width) * max(0.0, self.height)

    @property
    def centre(self) -> tuple[float, float]:
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    def intersection(self, other: "Rectangle") -> "Rectangle":
        """The intersection; its area is 0 if the boxes do not overlap."""
        return Rectangle(
            max(self.left, other.left),
            max(self.top, other.top),
            min(self.right, other.right),
            min(self.bottom, other.bottom),
        )

    def iou(self, other: "Rectangle") -> float:
        """Intersection over union, 0 to 1."""
        common = self.intersection(other).area
        return common / (self.area + other.area - common) if common > 0 else 0.0

    def scaled(self, x: float, y: float) -> "Rectangle":
        return Rectangle(self.left * x, self.top * y, self.right * x, self.bottom * y)

    def moved(self, x: float, y: float) -> "Rectangle":
        return Rectangle(self.left + x, self.top + y, self.right + x, self.bottom + y)

    def widened(self, share: float) -> "Rectangle":
        """The box with a margin on each side, as a share of its longer side."""
        more = share * max(self.width, self.height)
        return Rectangle(self.left - more, self.top - more, self.right + more, self.bottom + more)


def bounding_box(rectangles: Iterable[Rectangle]) -> Rectangle:
    """The bounding box of at least one rectangle."""
    lefts, tops, rights, bottoms = zip(*rectangles, strict=True)
    return Rectangle(min(lefts), min(tops), max(rights), max(bottoms))


class Scene(Enum):
    """The result of the motion gate."""

    MOVING = "moving"
    """Something moves, or moved a moment ago."""
    DUE = "due"
    """Nothing moves, but an analysis is due."""
    STILL = "still"


class Pixels(Protocol):
    """The pixels of a frame, converted on demand."""

    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...

    def luma(self) -> NDArray[np.uint8]:
        """The luma plane, (height, width) uint8; a view if possible."""
        ...

    def bgr(self, width: int | None = None, height: int | None = None) -> Picture:
        """The picture in BGR, at full size or scaled to width × height."""
        ...


class ArrayPixels:
    """Pixels that are already a BGR array: still images and tests."""

    def __init__(self, picture: Picture) -> None:
        self._picture = picture

    @property
    def width(self) -> int:
        return int(self._picture.shape[1])

    @property
    def height(self) -> int:
        return int(self._picture.shape[0])

    def luma(self) -> NDArray[np.uint8]:
        return np.asarray(cv2.cvtColor(self._picture, cv2.COLOR_BGR2GRAY), dtype=np.uint8)

    def bgr(self, width: int | None = None, height: int | None = None) -> Picture:
        size = (width or self.width, height or self.height)
        if size == (self.width, self.height):
            return self._picture
        return np.asarray(cv2.resize(self._picture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One decoded picture of a camera."""

    cam_id: str
    captured_at: datetime
    """Capture time in UTC; never earlier than that of the previous frame."""
    media_time: float
    """Seconds from the stream's start."""
    pixels: Pixels


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """A face box in one frame."""

    bbox: Rectangle
    score: float
    """Detector score, 0 to 1."""
    landmarks: NDArray[np.float32]
    """(5, 2) float32: left eye, right eye, nose tip, left and right mouth corner. Left and right as seen in
    the picture of an upright face."""
    near_score: float | None = None
    """Detector score in the upright cut-out (`pipeline.faces.refine`); 0 if no upright face was found there,
    None if the detection was not refined."""


@dataclass(frozen=True, slots=True)
class Quality:
    """Quality of a face picture: 0 is perfect, lower is worse, −5 and less is useless."""

    score: float
    parts: Mapping[str, float]
    """The deductions and the measurements by name, see `pipeline.faces.quality`."""


class Emotions(NamedTuple):
    """Probabilities, 0 to 1, with sum 1."""

    angry: float
    disgust: float
    fear: float
    happy: float
    neutral: float
    sad: float
    surprise: float

    def prevalent(self) -> tuple[str, str]:
        """The names of the two most probable emotions, the most probable first."""
        first, second = sorted(self._fields, key=lambda name: -getattr(self, name))[:2]
        return first, second


@dataclass(frozen=True, slots=True)
class FaceAttributes:
    """Attributes of a face, estimated by optional models; None without such a model."""

    gender: Literal["male", "female"] | None = None
    age: float | None = None
    """Years."""
    emotions: Emotions | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """One face of one visit, as passed from the pipeline to the store."""

    cam_id: str
    visit_id: str
    """The same for every sighting of one visit."""
    captured_at: datetime
    """UTC."""
    media_time: float
    bbox: Rectangle
    score: float
    """The quality score."""
    facen: Facen
    photo: bytes
    """The whole frame, JPEG."""
    normalized: bytes
    """The aligned face, PNG."""
    pack: str
    """The model pack that made the facen."""
    detector_info: Mapping[str, Any] = field(default_factory=dict)
    """Diagnostics: detector score, landmarks, quality parts, posting mode."""
    shots: int = 1
    """Number of shots that agree with the posted one; the facen is their mean."""
    co_visible: tuple[str, ...] = ()
    """Ids of the co-visible visits: visible in the same frame at some time, so of other people."""
    attributes: FaceAttributes = FaceAttributes()
    """Attributes of the posted shot; empty without attribute models."""


class ExtractionFace(TypedDict):
    """Face data as returned by `ctx.extractor.extract()`."""

    bbox: Rectangle
    normalized: bytes
    """The aligned face, PNG."""
    score: float
    """The quality score."""
    photo_hash: str
    """md5 of the original picture's bytes, hexadecimal."""
    facen: NotRequired[str]
    """float32 little-endian, base64."""
    gender: NotRequired[str]
    """'male' or 'female'."""
    age: NotRequired[float]
    emotions: NotRequired[Emotions]


@dataclass(frozen=True, slots=True, eq=False)
class StartedVisit:
    """A visit for which the first usable face was found."""

    cam_id: str
    visit_id: str
    started_at: datetime
    seen_at: datetime
    """Capture time of that face, UTC."""
    facen: Facen
    """Facen of that face; the combined facen of the visit follows with its sighting."""
    pack: str
    """The model pack that made the facen."""
    score: float
    """The quality score."""


@dataclass(frozen=True, slots=True)
class EndedVisit:
    """A visit that has ended."""

    cam_id: str
    visit_id: str
    started_at: datetime
    ended_at: datetime
    """When the face was last in view, UTC."""
    usable: bool
    """Whether it had a usable face."""
    sighting_follows: bool
    """Whether a last sighting follows; its `detector_info["visit_ended_at"]` has the end of the visit."""


class PipelineObserver(Protocol):
    """Receives events of the pipeline; the daemon counts them."""

    def stage(self, stage: str, seconds: float) -> None:
        """A stage (convert, motion, detect, track, quality, embed) took this long."""
        ...

    def faces_detected(self, cam_id: str, count: int) -> None: ...
    def shot(self, cam_id: str, outcome: str) -> None:
        """A shot was posted, low_quality, unrecognisable, small, outside_roi, duplicate or not_better."""
        ...

    def visit_started(self, visit: StartedVisit) -> None:
        """The first usable face of a visit was found."""
        ...

    def visit_ended(self, visit: EndedVisit) -> None: ...

    def analysed(self, cam_id: str) -> None: ...
    def skipped(self, cam_id: str, reason: str) -> None:
        """A frame was not analysed: motion, busy or corrupt."""
        ...


class UnobservedPipeline:
    """An observer that ignores all events."""

    def stage(self, stage: str, seconds: float) -> None: ...
    def faces_detected(self, cam_id: str, count: int) -> None: ...
    def shot(self, cam_id: str, outcome: str) -> None: ...
    def visit_started(self, visit: StartedVisit) -> None: ...
    def visit_ended(self, visit: EndedVisit) -> None: ...
    def analysed(self, cam_id: str) -> None: ...
    def skipped(self, cam_id: str, reason: str) -> None: ...

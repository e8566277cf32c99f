"""Ground truth of a scene: truth.json beside its clips.

fps     frame rate of the clips: a number, or {camera: number}
visits  [{visit, id, camera, start, end, variant, max_face_px}]   frame numbers
boxes   {camera: [[frame, visit, id, x, y, w, h], ...]}           pixels

An optional junk.json lists detections that no one could recognise:
{camera: [[frame, label, x, y, w, h], ...]}.
"""

from collections import defaultdict
from pathlib import Path
from typing import Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from daemon.evaluation.inputs import InputError
from pipeline.types import Rectangle

T = TypeVar("T")

CLIP_SUFFIX = ".mp4"
_MAX_FRAME_OFFSET = 2
"""Maximum difference between the frame numbers of shots and ground truth."""
_MIN_OVERLAP = 0.2
"""Minimum IoU for a stored face to belong to a visitor."""


class TrueVisit(BaseModel):
    model_config = ConfigDict(frozen=True)

    visit: int
    id: str
    """The identity."""
    camera: str
    start: int = Field(ge=0)
    """The first frame."""
    end: int = Field(ge=0)
    """The frame after the last."""
    max_face_px: float
    """Largest size of the face."""


class Truth(BaseModel):
    model_config = ConfigDict(frozen=True)

    fps: PositiveFloat | dict[str, PositiveFloat]
    visits: tuple[TrueVisit, ...] = Field(min_length=1)
    boxes: dict[str, list[tuple[int, int, str, float, float, float, float]]]
    """By camera: frame, visit, identity, left, top, width, height."""

    @model_validator(mode="after")
    def _every_camera_has_a_rate(self) -> Self:
        cameras = {*self.boxes, *(visit.camera for visit in self.visits)}
        if isinstance(self.fps, dict) and (missing := cameras - self.fps.keys()):
            raise ValueError(f"fps has no entry for the camera {min(missing)}")
        return self

    def fps_of(self, camera: str) -> float:
        """The frame rate of a camera's clip."""
        return self.fps[camera] if isinstance(self.fps, dict) else self.fps

    @property
    def seconds(self) -> float:
        """Media time at which the last visit ends."""
        return max(visit.end / self.fps_of(visit.camera) for visit in self.visits)


Junk = dict[str, list[tuple[int, str, float, float, float, float]]]
"""By camera: frame, label, left, top, width, height."""


def read_truth(folder: Path) -> Truth:
    """The ground truth of a scene. Raises InputError if truth.json cannot be read or is invalid."""
    return _read(folder / "truth.json", TypeAdapter(Truth))


def read_junk(folder: Path) -> Junk:
    """The unrecognisable detections of a scene; empty without junk.json. Raises InputError if it cannot be
    read or is invalid."""
    path = folder / "junk.json"
    return _read(path, TypeAdapter(Junk)) if path.exists() else {}


def _read(path: Path, form: TypeAdapter[T]) -> T:
    try:
        return form.validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except ValidationError as error:
        fault = error.errors(include_input=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise InputError(f"{path}: {where + ': ' if where else ''}{fault['msg']}") from None


def clips_of(folder: Path, truth: Truth) -> list[Path]:
    """The clip of each camera, sorted by name. Raises InputError if one is missing."""
    clips = [folder / f"{camera}{CLIP_SUFFIX}" for camera in sorted(truth.boxes)]
    missing = [clip.name for clip in clips if not clip.is_file()]
    if missing or not clips:
        raise InputError(f"{folder}: {', '.join(missing) or 'a clip'} is missing beside truth.json")
    return clips


class VisitorIndex:
    """Finds the visit that a face belongs to."""

    def __init__(self, truth: Truth, junk: Junk | None = None) -> None:
        self._truth = truth
        self._boxes: dict[tuple[str, int], list[tuple[int | None, Rectangle]]] = defaultdict(list)
        """By camera and frame: the visit, None for an unrecognisable detection, and its box."""
        for camera, detections in (junk or {}).items():
            for frame, _, x, y, width, height in detections:
                self._boxes[camera, frame].append((None, Rectangle(x, y, x + width, y + height)))
        for camera, rows in truth.boxes.items():
            for frame, visit, _, x, y, width, height in rows:
                self._boxes[camera, frame].append((visit, Rectangle(x, y, x + width, y + height)))

    def visit_at(self, camera: str, media_time: float, bbox: Rectangle) -> int | None:
        """The visit whose face overlaps most near this time; None if there is none, or an unrecognisable
        detection overlaps more."""
        middle = round(media_time * self._truth.fps_of(camera)) if camera in self._truth.boxes else 0
        candidates: list[tuple[float, int | None]] = [
            (bbox.iou(box), visit)
            for frame in range(middle - _MAX_FRAME_OFFSET, middle + _MAX_FRAME_OFFSET + 1)
            for visit, box in self._boxes.get((camera, frame), ())
        ]
        overlap, visit = max(candidates, key=lambda candidate: candidate[0], default=(0.0, None))
        return visit if overlap > _MIN_OVERLAP else None

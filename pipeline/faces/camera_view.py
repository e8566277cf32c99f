"""Judges from the detected faces whether a camera's view is suitable for recognition, and gives advice."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from pipeline.types import ExtractionFace, Quality

GOOD_WIDTH_PX = 60
"""Faces of this width and more lose little of their quality score for their size."""
_DEFECT = -0.7
"""Median deduction for a part of the quality score from which the view counts as defective."""
_ADVICE = {
    "exposure": "faces are too dark or burnt out: add light in front of them, avoid windows behind them, or "
    "switch on backlight compensation (WDR)",
    "pitch": "the camera looks too steeply at faces: mount it lower or farther away, at most 15 degrees "
    "above eye level",
    "yaw": "faces are turned to the side: aim the camera along the way that people walk",
    "roll": "faces are tilted: mount the camera upright, or rotate its picture",
    "sharpness": "faces are blurred: clean and focus the lens, and shorten the exposure time",
    "outside": "faces are cut off by the picture's edge: aim the camera so that people are in the middle",
}
"""By part of the quality score."""


@dataclass(frozen=True, slots=True)
class CameraView:
    """Whether a camera's view is suitable for recognition."""

    faces: int
    """Number of detections."""
    widths_px: tuple[int, int, int] | None
    """Smallest, median and largest width; None without faces."""
    median_quality: float | None
    suits: bool
    advice: tuple[str, ...]
    """What to change in the camera's position or settings."""


def judge_view(
    faces: Sequence[tuple[ExtractionFace, Quality]], min_face_px: int, min_score: float
) -> CameraView:
    """Judge the faces detected within some seconds. `min_face_px`, `min_score`: the camera's settings."""
    if not faces:
        nothing = "no face was seen: have someone walk through the view, and probe longer (--seconds)"
        return CameraView(0, None, None, suits=False, advice=(nothing,))
    widths = sorted(round(face["bbox"].width) for face, _ in faces)
    middle = round(median(widths))
    score = median(quality.score for _, quality in faces)
    advice = [
        text
        for part, text in _ADVICE.items()
        if median(quality.parts.get(part, 0.0) for _, quality in faces) <= _DEFECT
    ]
    if middle < min_face_px:
        advice.insert(0, f"faces are too small ({middle} px, min_face_px is {min_face_px}): {_LARGER}")
    elif middle < GOOD_WIDTH_PX:
        advice.insert(0, f"faces are small ({middle} px; {GOOD_WIDTH_PX} are better): {_LARGER}")
    if score < min_score:
        advice.append(f"the median quality score {score:.1f} is below min_score ({min_score:g})")
    suits = (
        middle >= min_face_px and score >= min_score and not any(text in _ADVICE.values() for text in advice)
    )
    return CameraView(len(faces), (widths[0], middle, widths[-1]), round(score, 2), suits, tuple(advice))


_LARGER = "move the camera closer, use a longer focal length, or a stream of higher resolution"

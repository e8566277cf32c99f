"""Face image quality: one score and its parts.

The score is 0 for an upright, frontal, sharp, well-lit, large face; each defect deducts from it:

    part        deduction                       measure
    detector    5 · max(0, 0.9 − s)             s: the higher of the detector's scores in the frame and after
                                                refinement (`pipeline.faces.refine`)
    yaw         (yaw / 30°)²                    turned to the side
    pitch       (pitch / 25°)²                  looking up or down
    roll        (roll / 40°)²                   tilted; lying is −5, upside down −20
    size        log₂(1 + e² / 4)                e: factor by which the face is enlarged to 112 × 112 px,
                                                where its eyes are 35 px apart
    sharpness   0.4 · log₂(1 + 0.1 / r)         r = (e − n) / v + n / (m / 5)²; e: variance of the Laplacian;
                                                n: 20 / 12, the contribution of rounding to e; v: variance of
                                                the brightness; m: mean brightness
    exposure    log₂(1 + (18 / b)² + (14 / b)⁶) b: median brightness of the face, without hair and
                + 5.5 · c                       background, 0 to 255;
                                                c: share of the face that is burnt out (235 and brighter)
    outside     10 · f                          f: share of the face, from the hair to the chin, that is
                                                outside the picture according to its landmarks
    recognis-   3 · (2 − z), 0 to 3             z: log-odds that this is a recognisable face, see
    ability                                     `pipeline.faces.recognisability`; 0 where not measured

The choice of measures follows ISO/IEC 29794-5 (face image quality).

Angles are estimated from the five landmarks. The nose tip stands out from the plane of eyes and mouth by
about half the distance between eyes and mouth, so its displacement from their middle is half the sine of the
angle. In frontal photographs the nose tip lies at 0.55 of the way from the eyes to the mouth.

Sharpness is the variance of the Laplacian (Pech-Pacheco et al. 2000, doi 10.1109/ICPR.2000.903548), divided
by the variance of the brightness, so that it does not depend on the contrast of the light. The contribution
of rounding is subtracted, because in a strongly blurred face it would dominate. A fixed contribution for a
face of usual contrast is added, because in dark pictures rounding hides the edges of sharp faces.

The weights were chosen on photographs so that good frontal ones score above −1, and lying ones below −5. The
deduction for exposure is 3 at a brightness of 11, and at 0.55 burnt out: there, one in ten photos of 16
people, darkened or brightened with simulated sensor noise, fell below a cosine of 0.4 to another photo of the
same person.
"""

import cmath
import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.faces.alignment import ALIGNED_SIZE, align, plane_points, similarity
from pipeline.types import Detection, Quality, Rectangle

PARTS = ("detector", "yaw", "pitch", "roll", "size", "sharpness", "exposure", "outside", "recognisability")
"""The parts whose sum is the score; the other entries of `Quality.parts` are the measurements."""

_CORE = slice(ALIGNED_SIZE // 7, -(ALIGNED_SIZE // 7))
"""The centre of an aligned face, without hair and background."""

_SKIN = np.asarray(
    cv2.ellipse(np.zeros((80, 80), np.uint8), (40, 56), (26, 34), 0, 0, 360, 1, cv2.FILLED), dtype=np.bool_
)
"""Mask of `_CORE`: the face from the brows to the chin, without the background beside the cheeks."""

_FACE = Rectangle(16, 12, 96, 120)
"""The face in the aligned picture; the chin lies below its edge."""
_FACE_GRID = np.add.outer(
    1j * np.arange(_FACE.top + 1, _FACE.bottom, 2), np.arange(_FACE.left + 1, _FACE.right, 2)
).ravel()
"""Sample points of the face, as complex numbers x + iy."""
_FACE_CORNERS = [complex(x, y) for x in (_FACE.left, _FACE.right) for y in (_FACE.top, _FACE.bottom)]

_BURNT_OUT = 235
"""White in most video, where brightness ranges from 16 to 235 (ITU-R BT.709). In pictures that use the full
range, nearly white."""

_ROUNDING = (4**2 + 4 * 1**2) / 12
"""Variance of rounding to whole numbers, 1/12, after the Laplacian with its weights 4, 1, 1, 1 and 1."""

_CONTRAST = 0.2
"""Typical ratio of standard deviation to mean of the brightness of a blurred face."""

_NOSE_DEPTH = 0.5
_NOSE_HEIGHT = 0.55
_MAX_DEGREES = 89.0


class Pose(NamedTuple):
    """Angles of a head in degrees; 0 each for an upright frontal face."""

    yaw: float
    """Positive: turned towards the right edge of the picture."""
    pitch: float
    """Positive: looking down."""
    roll: float
    """Positive: tilted clockwise; −180 to 180."""


def pose(landmarks: NDArray[np.float32]) -> Pose:
    """A rough, stable estimate of the pose from (5, 2) landmarks."""
    right_eye, left_eye, nose, right_mouth, left_mouth = plane_points(landmarks)
    across = left_eye - right_eye + left_mouth - right_mouth
    roll = cmath.phase(across)
    upright = cmath.rect(1, -roll)
    eyes, mouth = (right_eye + left_eye) / 2 * upright, (right_mouth + left_mouth) / 2 * upright
    height = mouth.imag - eyes.imag
    if height <= 0:  # degenerate landmarks
        return Pose(_MAX_DEGREES, _MAX_DEGREES, math.degrees(roll))
    nose *= upright
    aside = (nose.real - (eyes.real + mouth.real) / 2) / height
    along = (nose.imag - eyes.imag) / height
    yaw = math.degrees(math.asin(max(-1.0, min(1.0, aside / _NOSE_DEPTH))))
    pitch = math.degrees(math.atan((along - _NOSE_HEIGHT) / _NOSE_DEPTH))
    return Pose(yaw, pitch, math.degrees(roll))


def upper_bound(detection: Detection, width: int, height: int) -> Quality:
    """An upper bound of the quality: only the parts that need no pixels. `width`, `height`: of the
    picture."""
    head = pose(detection.landmarks)
    aligning = similarity(detection.landmarks)
    scale = math.hypot(*aligning[:, 0].tolist())
    outside = _outside(aligning, width, height)
    penalties = {
        "detector": 5 * max(0.0, 0.9 - max(detection.score, detection.near_score or 0.0)),
        "yaw": (head.yaw / 30) ** 2,
        "pitch": (head.pitch / 25) ** 2,
        "roll": (head.roll / 40) ** 2,
        "size": math.log2(1 + scale**2 / 4),
        "outside": 10 * outside,
    }
    measures = {
        "detector_score": detection.score,
        "yaw_degrees": head.yaw,
        "pitch_degrees": head.pitch,
        "roll_degrees": head.roll,
        "scale": scale,
        "share_outside": outside,
    }
    return _quality(penalties, measures)


def assess(luma: NDArray[np.uint8], detection: Detection, log_odds: float | None = None) -> Quality:
    """The quality of a face in a luma plane, (height, width) uint8.

    `log_odds`: its recognisability, see `pipeline.faces.recognisability`; None if it was not measured.
    """
    core = align(luma, detection.landmarks)[_CORE, _CORE]
    mean, variance = _spread(core)
    _, edges = _spread(cv2.Laplacian(core, cv2.CV_32F))
    usual = max(_CONTRAST * mean, 1.0) ** 2
    sharpness = max(edges - _ROUNDING, 0.0) / max(variance, 1.0) + _ROUNDING / usual
    skin = core[_SKIN]
    brightness = max(float(np.median(skin)), 1.0)
    burnt = int(np.count_nonzero(skin >= _BURNT_OUT)) / skin.size
    penalties = {
        "sharpness": 0.4 * math.log2(1 + 0.1 / sharpness),
        "exposure": math.log2(1 + (18 / brightness) ** 2 + (14 / brightness) ** 6) + 5.5 * burnt,
        "recognisability": 0.0 if log_odds is None else 3 * min(1.0, max(0.0, 2.0 - log_odds)),
    }
    measures = {"sharpness_ratio": sharpness, "brightness": brightness, "share_burnt_out": burnt}
    if log_odds is not None:
        measures["recognisability_log_odds"] = log_odds
    seen = _quality(penalties, measures)
    geometry = upper_bound(detection, luma.shape[1], luma.shape[0])
    return Quality(geometry.score + seen.score, {**geometry.parts, **seen.parts})


def _quality(penalties: dict[str, float], measures: dict[str, float]) -> Quality:
    return Quality(
        -sum(penalties.values()), {**{name: -value for name, value in penalties.items()}, **measures}
    )


def _spread(values: cv2.typing.MatLike) -> tuple[float, float]:
    """Mean and variance; OpenCV is much faster than NumPy here."""
    mean, deviation = cv2.meanStdDev(values)
    return float(mean[0, 0]), float(deviation[0, 0]) ** 2


def _outside(aligning: NDArray[np.float32], width: int, height: int) -> float:
    """The share of the face outside the picture according to its landmarks; the detector clips boxes to the
    picture."""
    turn, shift = (complex(x, y) for x, y in (aligning[:, 0], aligning[:, 2]))
    corners = ((corner - shift) / turn for corner in _FACE_CORNERS)
    if all(0 <= point.real <= width - 1 and 0 <= point.imag <= height - 1 for point in corners):
        return 0.0
    points = (_FACE_GRID - shift) / turn
    inside = (
        (points.real >= 0) & (points.real <= width - 1) & (points.imag >= 0) & (points.imag <= height - 1)
    )
    return float(1 - inside.mean())

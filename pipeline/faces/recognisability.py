"""Estimates whether a detection shows a face that can be recognised at all.

A detector also fires on ears, hair, hands, the backs of heads and dark patches, with scores of up to 0.84,
and often on several frames in a row. The embedder returns a facen for any picture, so a person could be
created from such a detection. Two further detections with the same detector tell them apart: a face is found
again upright in a cut-out (`pipeline.faces.refine`), and again in the picture aligned by its landmarks. A
false detection is found in at most one of them. Logistic regression combines the two scores to log-odds.

The coefficients were fitted with `python -m tests.bench.bench_recognisability` on detections in real video,
labelled by hand as recognisable or not; see docs/model_card.md for data and figures. Other features were
tried: the norm of the facen before normalisation, the cosine with the facen of the mirror image, pose,
brightness, contrast and sharpness. Each is worse alone, and none improves the two scores on clips that were
left out of the fit.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.faces.alignment import ALIGNED_SIZE, similarity
from pipeline.faces.detector import Detector
from pipeline.types import Detection, Quality

LIMIT = 1.0
"""Minimum log-odds of a recognisable face: accepts 97 % of the pictures of faces and 1 % of the others."""

_CLEAR_DEDUCTION, _OBSCURE_DEDUCTION = 2.0, 3.0
"""Deductions for size, sharpness and exposure up to which a face is clear, and from which it is obscure. The
limit falls linearly between them."""

_OBSCURE_ALLOWANCE = 4.0
"""Amount by which the limit of an obscure face is lower. Small, blurred and dark faces also have low detector
scores. They are worth storing, and their quality score is too low to create a person."""

_MARGIN = 24
"""Margin around the aligned face in pixels: the detector needs the outline of the head."""

_SIDE = ALIGNED_SIZE + 2 * _MARGIN
_MAX_SHIFT = 36.0
"""Maximum distance of the detected face from the centre of the aligned picture, in pixels."""


@dataclass(frozen=True, slots=True)
class Coefficients:
    """Coefficients of the logistic regression for one detector."""

    near_score: float
    """Weight of the score in the cut-out around the face."""
    aligned_score: float
    """Weight of the score in the aligned picture."""
    intercept: float


YUNET = Coefficients(7.16, 6.16, -8.71)


def min_log_odds(quality: Quality) -> float:
    """The minimum log-odds of a recognisable face with this quality."""
    deducted = -sum(quality.parts[name] for name in ("size", "sharpness", "exposure"))
    obscurity = (deducted - _CLEAR_DEDUCTION) / (_OBSCURE_DEDUCTION - _CLEAR_DEDUCTION)
    return LIMIT - _OBSCURE_ALLOWANCE * min(1.0, max(0.0, obscurity))


class RecognisabilityModel:
    """Rates detections with the detector that the coefficients were fitted for. Thread-safe."""

    def __init__(self, detector: Detector, coefficients: Coefficients) -> None:
        self._detector = detector
        self._coefficients = coefficients

    def log_odds(self, luma: NDArray[np.uint8], detection: Detection) -> float | None:
        """The log-odds that a detection in a luma plane, (height, width) uint8, is a recognisable face; None
        if the detection was not refined."""
        if detection.near_score is None:
            return None
        weights = self._coefficients
        return (
            weights.near_score * detection.near_score
            + weights.aligned_score * aligned_score(self._detector, luma, detection.landmarks)
            + weights.intercept
        )


def aligned_score(detector: Detector, luma: NDArray[np.uint8], landmarks: NDArray[np.float32]) -> float:
    """The detector's score for the face in its aligned picture; 0 if no face is detected at its centre."""
    view = similarity(landmarks)
    view[:, 2] += _MARGIN
    grey = cv2.warpAffine(luma, view, (_SIDE, _SIDE), flags=cv2.INTER_LINEAR)
    found = detector.detect(np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), dtype=np.uint8))
    middle = np.array([_SIDE / 2, _SIDE / 2])
    return max(
        (face.score for face in found if np.linalg.norm(face.bbox.centre - middle) <= _MAX_SHIFT), default=0.0
    )

"""Face alignment: the similarity transform that brings the landmarks to the embedder's template."""

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.types import Picture

ALIGNED_SIZE = 112
"""Width and height of an aligned face in pixels."""

TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]],
    dtype=np.float32,
)
"""Positions of the five landmarks of an upright frontal face in an aligned picture, (5, 2), pixels. From
ArcFace (Deng et al. 2019, arXiv 1801.07698); insightface's `face_align` and OpenCV's FaceRecognizerSF have
the same numbers."""


def plane_points(landmarks: NDArray[np.float32]) -> list[complex]:
    """(5, 2) landmarks as complex numbers x + iy, so that rotation is multiplication."""
    return [complex(x, y) for x, y in landmarks.tolist()]


_WANTED = plane_points(TEMPLATE)
_WANTED_MIDDLE = sum(_WANTED) / len(_WANTED)


def similarity(landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
    """The similarity transform from (5, 2) landmarks to the template, as a (2, 3) matrix.

    Least squares, as in Umeyama 1991 (doi 10.1109/34.88573). In the plane, rotation and scale are one complex
    factor, so the solution is a linear regression. insightface's `estimate_norm` returns the same matrix, but
    uses a deprecated function.
    """
    # Plain Python: for five points NumPy takes eight times as long.
    points = plane_points(landmarks)
    middle = sum(points) / len(points)
    centred = [point - middle for point in points]
    spread = sum(abs(point) ** 2 for point in centred)
    product = sum(
        point.conjugate() * (wanted - _WANTED_MIDDLE) for point, wanted in zip(centred, _WANTED, strict=True)
    )
    turn = product / spread if spread > 0 else 0j
    if abs(turn) < 1e-6:  # degenerate points: any rotation fits
        turn = 1 + 0j
    shift = _WANTED_MIDDLE - turn * middle
    return np.array(
        [[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]], dtype=np.float32
    )


def is_whole(landmarks: NDArray[np.float32], width: int, height: int) -> bool:
    """Whether the aligned face lies completely inside a picture of this size."""
    matrix = similarity(landmarks).astype(np.float64)
    corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) * (ALIGNED_SIZE - 1)
    points = np.linalg.solve(matrix[:, :2], (corners - matrix[:, 2]).T).T
    return bool((points >= 0).all() and (points <= (width - 1, height - 1)).all())


def align(picture: NDArray[np.uint8], landmarks: NDArray[np.float32]) -> Picture:
    """Crop and align the face with these (5, 2) landmarks, to 112 × 112. Pixels outside the picture are
    black."""
    size = (ALIGNED_SIZE, ALIGNED_SIZE)
    return np.asarray(
        cv2.warpAffine(picture, similarity(landmarks), size, flags=cv2.INTER_LINEAR), dtype=np.uint8
    )

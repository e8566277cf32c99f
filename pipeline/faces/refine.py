"""Refines a face that was detected in a downscaled picture, by a second detection in a cut-out.

This has two effects. The landmarks become exact to the pixels of the full picture, which is worth a lot to
the embedder: on small faces, at one false match in 10^5, it lowered the share of missed matches from 2.8 % to
0.5 %. And it shows which way up the face is. A face detector also finds faces that lie or stand on their
head, and then puts the landmarks where those of an upright face would be; when the cut-out face is turned by
quarters, the detector is surest where the face is upright. On photos of 51 people, each also turned by 90°,
180° and 270°, with faces of 30 to 190 px, blurred, darkened and tilted by up to 12°, that was right for 797
of 798 faces found.

Where the first look was at the picture's own pixels, the mean of both is better than either: on photos of 26
people, some shrunk to faces of 35 to 60 px, blurred and darkened, 1 % of false matches cost 16.0 % of the
right ones with either look alone and 14.1 % with the mean.
"""

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.faces.detector import Detector
from pipeline.types import Detection, Rectangle

_SIDE = 128
_ROOM = 1.8
"""Side of the cut-out over the longer side of the face box; the detector needs the outline."""

_SAME_FACE = 0.2
"""Minimum IoU with the first box. The box of a lying face is a poor guess; a neighbour overlaps even less."""

_QUARTERS = (None, cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE)
"""Rotations that bring a face tilted clockwise by 0, 90, 180 and 270 degrees upright."""


def refine(
    detector: Detector,
    luma: NDArray[np.uint8],
    found: Detection,
    *,
    found_in_full: bool = False,
    upright: bool = False,
) -> Detection:
    """The detection with refined landmarks, whatever the orientation of the face.

    `luma` is the full picture's brightness, (height, width) uint8, and `found` lies in its pixels;
    `found_in_full` says that it was found at about this size, and not in a smaller picture; `upright` that
    the face is known to be upright, which saves three of four looks. Box and score stay. A face that cannot
    be found again keeps its landmarks, and its `near_score` is 0.
    """
    left, top, side = _square(found.bbox)
    scale = _SIDE / side
    view = np.array([[scale, 0, -left * scale], [0, scale, -top * scale]], dtype=np.float32)
    # Averaging where it shrinks was tried: it made faces of 400 px no better to recognise.
    cut = cv2.cvtColor(cv2.warpAffine(luma, view, (_SIDE, _SIDE)), cv2.COLOR_GRAY2BGR)
    box = found.bbox.moved(-left, -top).scaled(scale, scale)
    surest, upright_score, points, is_upright = 0.0, 0.0, None, False
    for quarters, turn in enumerate(_QUARTERS[:1] if upright else _QUARTERS):
        picture = cut if turn is None else np.asarray(cv2.rotate(cut, turn))
        upright_box = box if quarters % 2 == 0 else Rectangle(box.top, box.left, box.bottom, box.right)
        for face in detector.detect(np.asarray(picture, dtype=np.uint8)):
            if face.score > surest and face.bbox.iou(upright_box) >= _SAME_FACE:
                surest, is_upright = face.score, quarters == 0
                upright_score = surest if is_upright else upright_score
                points = _turned_back(face.landmarks, quarters)
    if points is None:
        return replace(found, near_score=0.0)
    exact = points / scale + (left, top)
    if found_in_full and is_upright:
        exact = (exact + found.landmarks) / 2
    return replace(found, landmarks=exact.astype(np.float32), near_score=upright_score)


def _square(bbox: Rectangle) -> tuple[float, float, float]:
    """Left, top and side of the cut-out around a face."""
    side = max(bbox.width, bbox.height, 1.0) * _ROOM
    x, y = bbox.centre
    return x - side / 2, y - side / 2, side


def _turned_back(points: NDArray[np.float32], quarters: int) -> NDArray[np.float32]:
    """Points of the cut-out that was turned counterclockwise, as they lie in the cut-out itself."""
    edge = np.float32(_SIDE - 1)
    for _ in range(quarters):
        points = np.stack([edge - points[:, 1], points[:, 0]], axis=1)
    return points

"""Face detection: YuNet, from OpenCV Zoo.

The decoding follows the paper (Wu, Peng, Yu: "YuNet: A Tiny Millisecond-level Face Detector", 2023, doi
10.1007/s11633-023-1423-y) and OpenCV's cv::FaceDetectorYN: three grids with strides 8, 16 and 32; each cell
has a class score, an objectness score, a box relative to the cell, and five landmarks.
"""

from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.inference.runtime import InferenceSession, Tensor
from pipeline.types import Detection, Picture, Rectangle

_STRIDES = (8, 16, 32)
_HEADS = ("cls", "obj", "bbox", "kps")


class Detector(Protocol):
    """Detects faces. Thread-safe."""

    def detect(self, picture: Picture) -> list[Detection]:
        """Detect the faces in a BGR picture; in pixels of the picture, the highest score first."""
        ...


class YuNetDetector:
    """YuNet with non-maximum suppression. `max_overlap`: maximum IoU of two faces; default: OpenCV's."""

    def __init__(self, session: InferenceSession, min_score: float = 0.5, max_overlap: float = 0.3) -> None:
        wanted = {f"{head}_{stride}" for head in _HEADS for stride in _STRIDES}
        missing = wanted - session.output_shapes.keys()
        if missing:
            raise ModelError(f"this model is not a YuNet detector: it has no output {sorted(missing)[0]}")
        self._session = session
        self._min_score = min_score
        self._max_overlap = max_overlap

    def detect(self, picture: Picture) -> list[Detection]:
        height, width = picture.shape[:2]
        # Padded on the right and at the bottom to a multiple of the coarsest stride, as in OpenCV.
        padded = cv2.copyMakeBorder(picture, 0, -height % 32, 0, -width % 32, cv2.BORDER_CONSTANT, value=0)
        blob = np.ascontiguousarray(padded.transpose(2, 0, 1)[np.newaxis], dtype=np.float32)
        boxes, scores, landmarks = self._decode(self._session.run(blob), padded.shape[1] // 8)
        if not len(scores):
            return []
        kept = cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), self._min_score, self._max_overlap)
        return [_detection(boxes[i], scores[i], landmarks[i]) for i in np.asarray(kept, dtype=int).ravel()]

    def _decode(self, outputs: dict[str, Tensor], finest_columns: int) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes (n, 4) as left, top, width, height; scores (n,); landmarks (n, 5, 2)."""
        boxes, scores, landmarks = [], [], []
        for stride in _STRIDES:
            class_score, objectness, box, points = (outputs[f"{head}_{stride}"][0] for head in _HEADS)
            score = np.sqrt(np.clip(class_score[:, 0], 0, 1) * np.clip(objectness[:, 0], 0, 1))
            kept = np.flatnonzero(score >= self._min_score)
            if not len(kept):
                continue
            cells = _cells(kept, finest_columns * 8 // stride)
            centres = (cells + box[kept, :2]) * stride
            sizes = np.exp(box[kept, 2:]) * stride
            boxes.append(np.concatenate([centres - sizes / 2, sizes], axis=1))
            scores.append(score[kept])
            landmarks.append((points[kept].reshape(-1, 5, 2) + cells[:, np.newaxis]) * stride)
        if not boxes:
            return np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty((0, 5, 2), np.float32)
        return np.concatenate(boxes), np.concatenate(scores), np.concatenate(landmarks)


def _cells(indices: NDArray[np.intp], columns: int) -> Tensor:
    """Column and row of each cell of a grid, (n, 2)."""
    return np.stack([indices % columns, indices // columns], axis=1).astype(np.float32)


def _detection(box: Tensor, score: float, landmarks: Tensor) -> Detection:
    left, top, width, height = (float(value) for value in box)
    bbox = Rectangle(left, top, left + width, top + height)
    # YuNet's first eye is the person's right one, which lies left in the picture.
    return Detection(bbox, float(score), landmarks.astype(np.float32))

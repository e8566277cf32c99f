"""OpenCV's own way with the same files, to compare with: FaceDetectorYN and FaceRecognizerSF."""

import threading
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from daemon.evaluation.faces import Look, Looker, most_central
from pipeline.errors import PictureError
from pipeline.faces import facen
from pipeline.pictures import decode as pictures
from pipeline.types import Rectangle

_MIN_SCORE = 0.6
"""As Facend's own extractor; OpenCV's default, 0.9, finds fewer faces."""


def opencv_looking(yunet: Path, sface: Path, max_pixels: int) -> Looker:
    """Looks with OpenCV, each thread with objects of its own: they are not thread-safe."""
    local = threading.local()
    # OpenCV 5 warns with each object that its new engine takes no target, which nobody asked for.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)

    def look(path: Path) -> Look:
        if not hasattr(local, "look"):
            local.look = _looking(yunet, sface, max_pixels)
        found: Look = local.look(path)
        return found

    return look


def _looking(yunet: Path, sface: Path, max_pixels: int) -> Callable[[Path], Look]:
    detector = cv2.FaceDetectorYN.create(str(yunet), "", (320, 320), score_threshold=_MIN_SCORE)
    recogniser = cv2.FaceRecognizerSF.create(str(sface), "")

    def look(path: Path) -> Look:
        try:
            picture, _ = pictures.read(path, max_pixels)
        except PictureError as error:
            return Look(path, None, trouble=str(error))
        detector.setInputSize((picture.shape[1], picture.shape[0]))
        _, rows = detector.detect(picture)
        if rows is None or not len(rows):
            return Look(path, None, trouble="no face found")
        boxes = [Rectangle(x, y, x + width, y + height) for x, y, width, height in rows[:, :4].tolist()]
        aligned = recogniser.alignCrop(picture, rows[most_central(boxes, picture)])
        return Look(path, facen.normalise(np.asarray(recogniser.feature(aligned), np.float32)[0]))

    return look

"""Faces found by OpenCV's FaceDetectorYN and FaceRecognizerSF with the same model files, as a baseline."""

import threading
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from daemon.evaluation.faces import FaceFinder, PictureFace, most_central
from pipeline.errors import PictureError
from pipeline.faces import facen
from pipeline.pictures import decode as pictures
from pipeline.types import Rectangle

_MIN_SCORE = 0.6
"""Minimum score of Facend's extractor; OpenCV's default, 0.9, finds fewer faces."""


def opencv_finder(yunet: Path, sface: Path, max_pixels: int) -> FaceFinder:
    """Find faces with OpenCV. Its objects are not thread-safe, so each thread has its own."""
    local = threading.local()
    # OpenCV 5 warns for each object that its new engine ignores the target, although none is set.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)

    def find(path: Path) -> PictureFace:
        if not hasattr(local, "find"):
            local.find = _finder(yunet, sface, max_pixels)
        found: PictureFace = local.find(path)
        return found

    return find


def _finder(yunet: Path, sface: Path, max_pixels: int) -> Callable[[Path], PictureFace]:
    detector = cv2.FaceDetectorYN.create(str(yunet), "", (320, 320), score_threshold=_MIN_SCORE)
    recogniser = cv2.FaceRecognizerSF.create(str(sface), "")

    def find(path: Path) -> PictureFace:
        try:
            picture, _ = pictures.read(path, max_pixels)
        except PictureError as error:
            return PictureFace(path, None, trouble=str(error))
        detector.setInputSize((picture.shape[1], picture.shape[0]))
        _, rows = detector.detect(picture)
        if rows is None or not len(rows):
            return PictureFace(path, None, trouble="no face found")
        boxes = [Rectangle(x, y, x + width, y + height) for x, y, width, height in rows[:, :4].tolist()]
        aligned = recogniser.alignCrop(picture, rows[most_central(boxes, picture)])
        return PictureFace(path, facen.normalise(np.asarray(recogniser.feature(aligned), np.float32)[0]))

    return find

"""The results for OpenCV Zoo's models are those of OpenCV's own classes."""

import cv2
import numpy as np
import pytest

from pipeline.faces.alignment import align
from pipeline.models.loader import Models
from pipeline.types import Rectangle
from tests.faces import models_dir, sample_path, six_people


def _file(models: Models, number: int) -> str:
    return str(models_dir() / models.pack.name / models.pack.files[number].name)


@pytest.mark.parametrize("size", [(1280, 886), (640, 384), (333, 211)])
def test_detector_agrees_with_opencv(models: Models, size: tuple[int, int]) -> None:
    """Boxes, landmarks and scores are those of FaceDetectorYN, also at sizes that need padding."""
    picture = cv2.resize(six_people(), size, interpolation=cv2.INTER_AREA)
    _, expected = cv2.FaceDetectorYN.create(_file(models, 0), "", size, 0.3, 0.3).detect(picture)
    found = models.detector.detect(np.asarray(picture, np.uint8))
    assert len(found) == len(expected) >= 6
    for ours, row in zip(found, expected, strict=True):
        theirs = Rectangle(row[0], row[1], row[0] + row[2], row[1] + row[3])
        assert ours.bbox.iou(theirs) > 0.99
        assert np.abs(ours.landmarks - row[4:14].reshape(5, 2)).max() < 0.5
        assert ours.score == pytest.approx(row[14], abs=0.01)


def test_alignment_and_facens_agree_with_opencv(models: Models) -> None:
    """The aligned face is FaceRecognizerSF's to a fraction of a grey level, the facen to a cosine over
    0.999."""
    recogniser = cv2.FaceRecognizerSF.create(_file(models, 1), "")
    picture = six_people()
    height, width = picture.shape[:2]
    _, rows = cv2.FaceDetectorYN.create(_file(models, 0), "", (width, height), 0.6, 0.3).detect(picture)
    for row in rows[:3]:
        theirs = recogniser.alignCrop(picture, row)
        ours = align(picture, row[4:14].reshape(5, 2))
        assert np.abs(theirs.astype(int) - ours).mean() < 0.1
        facen = recogniser.feature(theirs)[0]
        assert float(models.embedder.embed([ours])[0] @ facen / np.linalg.norm(facen)) > 0.999


def test_a_face_that_fills_the_picture_is_detected(models: Models) -> None:
    """Its box exceeds the edges."""
    picture = cv2.imread(str(sample_path("Tom_Hanks_54745.png")))
    (face,) = models.detector.detect(np.asarray(picture, np.uint8))
    assert face.score > 0.8
    assert face.bbox.top < 0 < face.bbox.left

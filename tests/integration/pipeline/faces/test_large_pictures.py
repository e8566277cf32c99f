"""Pictures of the largest size that cameras and telephones send."""

import cv2
import numpy as np

from pipeline.extractor import FaceExtractor
from tests.faces import default_models, six_people


def test_large_and_small_faces_are_found_in_48_million_pixels() -> None:
    """In 8000 × 6000 pixels large faces and small ones are found."""
    large = np.full((6000, 8000, 3), 110, np.uint8)
    large[200:1086, 300:1580] = six_people()
    large[1500:5930, 1000:7400] = cv2.resize(six_people(), (6400, 4430))
    faces = FaceExtractor(default_models()).extract(large)
    assert sum(face["bbox"].top > 1500 for face in faces) == 6
    assert sum(face["bbox"].bottom < 1200 for face in faces) >= 4

"""What is remembered about a visit's face, to avoid repeated comparisons."""

from dataclasses import replace

import cv2
import numpy as np

from pipeline.faces.detector import Detector
from pipeline.models.loader import Models
from pipeline.tracking.appearance_cache import AppearanceCache, face_thumbnail
from pipeline.types import Detection, Picture, Rectangle
from pipeline.visits.best_shot import BestShot, Posting
from pipeline.visits.visit_shots import VisitShots
from pipeline.visits.visits import OngoingVisit, Presence
from tests.faces import START, six_faces, six_people


class Counting:
    """A real detector that counts how often it is asked."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self.asked = 0

    def detect(self, picture: Picture) -> list[Detection]:
        self.asked += 1
        return self._detector.detect(picture)


def a_visit() -> OngoingVisit:
    return OngoingVisit("gate-1", START, BestShot(Posting.OVERALL, 1.0), VisitShots(4), Presence("gate-1"))


def test_a_confirmed_appearance_is_recognised() -> None:
    """An unusual appearance of the face is compared once, another face each time."""
    luma = np.asarray(cv2.cvtColor(six_people(), cv2.COLOR_BGR2GRAY), np.uint8)
    usual, covered, stranger = (face_thumbnail(luma, face) for face in six_faces()[:3])
    looks = AppearanceCache()
    assert looks.matches(usual)
    looks.update(usual)
    assert looks.matches(usual)
    assert not looks.matches(covered)
    looks.confirm(covered)
    looks.update(usual)
    assert looks.matches(covered)
    assert not looks.matches(stranger)


def test_the_orientation_of_a_face_is_checked_until_it_was_upright(models: Models) -> None:
    """The first refinement tries four rotations, later ones of the same visit only one."""
    luma = np.asarray(cv2.cvtColor(six_people(), cv2.COLOR_BGR2GRAY), np.uint8)
    visit, detector, face = a_visit(), Counting(models.detector), six_faces()[0]
    first = visit.refine(detector, luma, face)
    assert detector.asked == 4
    assert visit.upright
    again = visit.refine(detector, luma, face)
    assert detector.asked == 5
    np.testing.assert_array_equal(again.landmarks, first.landmarks)


def test_the_orientation_of_an_inverted_face_is_checked_each_time(models: Models) -> None:
    """It stays turned, however often it is looked at."""
    luma = np.asarray(cv2.cvtColor(cv2.flip(six_people(), -1), cv2.COLOR_BGR2GRAY), np.uint8)
    height, width = luma.shape
    visit, detector, face = a_visit(), Counting(models.detector), six_faces()[0]
    box = Rectangle(
        width - face.bbox.right, height - face.bbox.bottom, width - face.bbox.left, height - face.bbox.top
    )
    inverted = replace(face, bbox=box)
    for times in (1, 2):
        seen = visit.refine(detector, luma, inverted)
        assert seen.landmarks[0, 1] > seen.landmarks[3, 1]  # the eye below the mouth
        assert detector.asked == 4 * times
        assert not visit.upright

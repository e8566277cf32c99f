"""Recognisability distinguishes faces from false detections."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from pipeline.faces.quality import assess
from pipeline.faces.recognisability import LIMIT, min_log_odds
from pipeline.faces.refine import refine
from pipeline.models.loader import Models
from pipeline.types import Detection, Picture, Quality
from tests.faces import placed, portrait, wall

FRONTAL = (0, 2, 5)
"""Of the six people, those who look about towards the camera."""


def scene(person: int, face_px: int = 110) -> Picture:
    picture = wall(400, 400)
    placed(picture, portrait(person, face_px), 200, 200)
    return picture


def largest(models: Models, picture: Picture) -> Detection:
    return max(models.detector.detect(picture), key=lambda face: face.bbox.area)


def luma_of(picture: Picture) -> np.ndarray:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)


def log_odds(models: Models, picture: Picture, detection: Detection) -> float:
    assert models.recognisability is not None
    luma = luma_of(picture)
    found = models.recognisability.log_odds(luma, refine(models.detector, luma, detection))
    assert found is not None
    return found


def quality(models: Models, picture: Picture, detection: Detection) -> Quality:
    luma = luma_of(picture)
    return assess(luma, refine(models.detector, luma, detection), log_odds(models, picture, detection))


@pytest.mark.parametrize("face_px", [110, 60, 40])
@pytest.mark.parametrize("person", range(6))
def test_faces_are_recognisable_at_every_size(models: Models, person: int, face_px: int) -> None:
    """Small faces and heads turned by up to 40° are above the limit, without a deduction."""
    picture = scene(person, face_px)
    found = largest(models, picture)
    assert log_odds(models, picture, found) >= LIMIT + 1
    assert quality(models, picture, found).parts["recognisability"] == 0


@pytest.mark.parametrize("person", FRONTAL)
def test_false_detections_are_below_the_limit(models: Models, person: int) -> None:
    """Of hair, shoulders and background, for any detector score."""
    picture = scene(person)
    face = largest(models, picture)
    for x, y in ((0.0, -0.8), (0.0, 1.1), (-1.2, 0.3), (1.2, 0.0)):
        shift = x * face.bbox.width, y * face.bbox.height
        elsewhere = replace(
            face, bbox=face.bbox.moved(*shift), landmarks=face.landmarks + np.float32(shift), score=0.95
        )
        assert log_odds(models, picture, elsewhere) < LIMIT
        assert quality(models, picture, elsewhere).score < -3


@pytest.mark.parametrize("person", FRONTAL)
def test_a_face_behind_a_hand_is_not_recognisable(models: Models, person: int) -> None:
    """A skin-coloured ellipse covers it from the left brow to the right corner of the mouth."""
    picture = scene(person)
    face = largest(models, picture)
    (left, top), box = face.bbox[:2], face.bbox
    middle = round(left + 0.4 * box.width), round(top + 0.55 * box.height)
    axes = round(0.45 * box.width), round(0.5 * box.height)
    cv2.ellipse(picture, middle, axes, 0, 0, 360, (120, 140, 200), cv2.FILLED)
    assert log_odds(models, picture, face) < LIMIT


@pytest.mark.parametrize("person", (0, 5))
def test_a_face_with_sunglasses_is_recognisable(models: Models, person: int) -> None:
    """A black bar covers the eyes."""
    picture = scene(person)
    right_eye, left_eye = largest(models, picture).landmarks[:2]
    apart = left_eye[0] - right_eye[0]
    corners = right_eye - apart * np.float32((0.4, 0.2)), left_eye + apart * np.float32((0.4, 0.25))
    start, end = ((round(float(x)), round(float(y))) for x, y in corners)
    cv2.rectangle(picture, start, end, (10, 10, 10), cv2.FILLED)
    assert log_odds(models, picture, largest(models, picture)) >= LIMIT


@pytest.mark.parametrize("person", (2, 5))
def test_a_face_with_a_mask_is_recognisable(models: Models, person: int) -> None:
    """A light surface covers it from the nose down."""
    picture = scene(person)
    face = largest(models, picture)
    start = round(face.bbox.left), round(float(face.landmarks[2, 1]))
    end = round(face.bbox.right), round(face.bbox.bottom)
    cv2.rectangle(picture, start, end, (230, 200, 180), cv2.FILLED)
    assert log_odds(models, picture, largest(models, picture)) >= LIMIT


def test_the_limit_is_lower_for_obscure_faces_only(models: Models) -> None:
    """A face of 40 px, blurred and dark, has a lower limit, and a quality score that creates no person."""
    picture = scene(5)
    assert min_log_odds(quality(models, picture, largest(models, picture))) == LIMIT
    dim = cv2.GaussianBlur(scene(5, 40), (0, 0), 2) * 0.3
    face = largest(models, scene(5, 40))
    rated = quality(models, dim.astype(np.uint8), face)
    assert min_log_odds(rated) < LIMIT - 2
    assert rated.score < -3


def test_a_detection_that_was_not_refined_is_not_rated(models: Models) -> None:
    """Its quality score has no deduction for recognisability."""
    picture = scene(0)
    face = largest(models, picture)
    assert models.recognisability is not None
    assert models.recognisability.log_odds(luma_of(picture), face) is None
    assert assess(luma_of(picture), face).parts["recognisability"] == 0


@pytest.mark.parametrize("person", FRONTAL)
def test_very_dark_and_burnt_out_faces_create_no_person(models: Models, person: int) -> None:
    """The exposure of the face counts, not that of the wall behind it."""
    usual = scene(person)
    face = largest(models, usual)
    mask = np.zeros((400, 400, 1), np.float32)
    x, y = (round(value) for value in face.bbox.centre)
    axes = round(0.55 * face.bbox.width), round(0.65 * face.bbox.height)
    cv2.ellipse(mask, (x, y), axes, 0, 0, 360, 1.0, cv2.FILLED)
    for gain, background in ((0.05, 0.05), (0.05, 1.8), (5.0, 1.0), (5.0, 0.2)):
        mixed = usual * (mask * gain + (1 - mask) * background)
        picture = np.clip(mixed, 0, 255).astype(np.uint8)
        assert assess(luma_of(picture), face).score < -3
    assert assess(luma_of(usual), face).parts["exposure"] > -0.5

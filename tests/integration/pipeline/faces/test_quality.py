"""The quality score ranks pictures of a face."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from pipeline.faces.quality import Pose, assess, pose, upper_bound
from pipeline.faces.refine import refine
from pipeline.models.loader import Models
from pipeline.types import Picture, Quality
from tests.faces import portrait, wall

FRONTAL = (0, 2, 5)
"""Of the six people, those who look about towards the camera."""
PENALTIES = (
    "detector",
    "yaw",
    "pitch",
    "roll",
    "size",
    "sharpness",
    "exposure",
    "outside",
    "recognisability",
)


def quality(models: Models, picture: Picture) -> Quality | None:
    """The quality of the largest face, looked at closely."""
    found = max(models.detector.detect(picture), key=lambda face: face.bbox.area, default=None)
    if found is None:
        return None
    luma = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)
    return assess(luma, refine(models.detector, luma, found))


def scene(person: int, face_px: int = 110) -> Picture:
    """A portrait in the middle of a wall."""
    picture = wall(400, 400)
    cut = portrait(person, face_px)
    start = 200 - cut.shape[0] // 2
    picture[start : start + cut.shape[0], start : start + cut.shape[1]] = cut
    return picture


@pytest.mark.parametrize("person", FRONTAL)
def test_frontal_faces_have_nearly_no_deduction(models: Models, person: int) -> None:
    """People who look at the camera get nearly nothing taken away."""
    found = quality(models, scene(person))
    assert found is not None
    assert -1 < found.score < 0


def test_a_head_turned_aside_has_a_deduction_for_yaw(models: Models) -> None:
    """The man who looks to the left is worse than all who look this way, because of that."""
    found = quality(models, scene(4))
    assert found is not None
    assert found.score < -2
    assert found.parts["yaw_degrees"] < -30
    assert min(PENALTIES, key=lambda name: found.parts[name]) == "yaw"


@pytest.mark.parametrize("turn", [cv2.ROTATE_90_CLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_COUNTERCLOCKWISE])
@pytest.mark.parametrize("person", range(6))
def test_lying_and_inverted_faces_are_useless(models: Models, person: int, turn: int) -> None:
    """Rotated by quarters, a face is not detected, or scores −5 or less."""
    found = quality(models, np.asarray(cv2.rotate(scene(person), turn), np.uint8))
    assert found is None or found.score <= -5


def blurred(sigma: float) -> Callable[[Picture], Picture]:
    return lambda picture: np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.uint8)


def darker(gain: float) -> Callable[[Picture], Picture]:
    return lambda picture: (picture * gain).astype(np.uint8)


def brighter(gain: float) -> Callable[[Picture], Picture]:
    """Into white, in the range of brightness that video has."""
    return lambda picture: np.clip(16 + picture * (219 / 255) * gain, 16, 235).astype(np.uint8)


def smaller(side: int) -> Callable[[Picture], Picture]:
    return lambda picture: np.asarray(
        cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA), np.uint8
    )


def cropped(columns: int) -> Callable[[Picture], Picture]:
    return lambda picture: picture[:, columns:].copy()


def without_chin(rows: int) -> Callable[[Picture], Picture]:
    return lambda picture: picture[:rows].copy()


SERIES = {
    "blur": [blurred(sigma) for sigma in (1, 2, 4)],
    "darkness": [darker(gain) for gain in (0.6, 0.3, 0.15)],
    "shrinking": [smaller(side) for side in (300, 200, 120)],
    "cropping": [cropped(columns) for columns in (175, 190, 205)],
    "cropping from below": [without_chin(rows) for rows in (246, 238, 230, 222, 214)],
}


@pytest.mark.parametrize("name", SERIES)
@pytest.mark.parametrize("person", FRONTAL)
def test_worse_pictures_score_worse(models: Models, person: int, name: str) -> None:
    """Each step of blur, darkness, downscaling and cropping lowers the score, or hides the face."""
    scores = []
    for step in [lambda picture: picture, *SERIES[name]]:
        found = quality(models, step(scene(person)))
        if found is None:
            break
        scores.append(found.score)
    assert len(scores) >= 2
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] < scores[0] - 0.1


@pytest.mark.parametrize("person", FRONTAL)
def test_blur_counts_until_nothing_is_left_to_see(models: Models, person: int) -> None:
    """With its landmarks where they are, a face scores less with each step of blur, however far it goes: what
    rounding leaves in a picture is not taken for sharpness."""
    picture = scene(person, 80)
    luma = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)
    face = max(models.detector.detect(picture), key=lambda face: face.bbox.area)
    steps = [luma, *(np.asarray(blurred(sigma)(luma), np.uint8) for sigma in (1, 2, 3, 4, 5, 6))]
    scores = [assess(step, face).score for step in steps]
    assert scores == sorted(scores, reverse=True)


def test_burnt_out_video_has_a_deduction_for_exposure(models: Models) -> None:
    """White is 235 in most video."""
    lit, burnt = (quality(models, brighter(gain)(scene(2))) for gain in (1.0, 2.0))
    assert lit is not None and burnt is not None
    assert lit.parts["share_burnt_out"] < 0.02
    assert burnt.parts["share_burnt_out"] > 0.1
    assert burnt.parts["exposure"] < lit.parts["exposure"] - 0.3


def test_parts_add_up_and_only_take_away(models: Models) -> None:
    """The score is the sum of its parts, none of which is positive; what needs no pixels is an upper
    bound."""
    picture = scene(0)
    (face, *_) = models.detector.detect(picture)
    luma = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)
    found = assess(luma, face)
    parts = [found.parts[name] for name in PENALTIES]
    assert max(parts) <= 0
    assert sum(parts) == pytest.approx(found.score)
    assert found.score < upper_bound(face, 400, 400).score


def test_refinement_corrects_landmarks(models: Models) -> None:
    """Landmarks that are a few pixels off return to their positions in the full picture."""
    picture = scene(2)
    luma = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)
    (face, *_) = models.detector.detect(picture)
    shifted = type(face)(face.bbox, face.score, face.landmarks + np.float32(7))
    assert np.abs(refine(models.detector, luma, shifted).landmarks - face.landmarks).max() < 4


def test_refinement_never_returns_a_neighbours_face(models: Models) -> None:
    """If the face is not found again, its landmarks do not change."""
    picture = scene(1)
    luma = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)
    (face, *_) = models.detector.detect(picture)
    box = face.bbox._replace(left=face.bbox.left + 90, right=face.bbox.right + 90)
    beside = type(face)(box, 0.9, face.landmarks)
    seen = refine(models.detector, luma, beside)
    assert seen.near_score == 0
    assert seen.landmarks is beside.landmarks


def test_pose_has_signs_and_sizes() -> None:
    """A nose to the right is a positive yaw, a nose low a positive pitch, a clockwise tilt a positive
    roll."""
    frontal = np.array([[-20, -22], [20, -22], [0, 2.2], [-16, 22], [16, 22]], np.float32)
    assert pose(frontal) == pytest.approx(Pose(0, 0, 0), abs=0.5)
    aside = frontal.copy()
    aside[2, 0] += 11
    assert pose(aside).yaw == pytest.approx(30, abs=1)
    low = frontal.copy()
    low[2, 1] += 11
    assert pose(low).pitch == pytest.approx(26.6, abs=1)
    turn = np.deg2rad(30)
    turned = frontal @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]], np.float32)
    assert pose(turned).roll == pytest.approx(30, abs=0.5)
    assert abs(pose(-frontal).roll) == pytest.approx(180, abs=0.5)

"""What every detector and embedder must do, whatever runs it."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from pipeline.faces.alignment import align
from pipeline.faces.refine import refine
from pipeline.models.loader import Models, load
from pipeline.models.pack_files import resolve
from pipeline.types import Detection, Picture
from tests.faces import default_models, models_dir, portrait, scrfd_directory, six_faces, six_people


def _insightface() -> Models:
    return load(resolve(str(scrfd_directory()), models_dir()), models_dir())


def _cut(picture: Picture, face: Detection) -> Picture:
    luma = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)
    return align(picture, refine(default_models().detector, luma, face).landmarks)


@pytest.fixture(
    scope="module", params=[default_models, _insightface], ids=["opencv-zoo", "insightface directory"]
)
def models(request: pytest.FixtureRequest) -> Models:
    make: Callable[[], Models] = request.param
    return make()


def test_finds_the_six_people_and_nobody_else(models: Models) -> None:
    """Every face of the sample picture is found where it is, once, with its landmarks inside the box."""
    found = [face for face in models.detector.detect(six_people()) if face.score >= 0.6]
    assert len(found) == 6
    for known in six_faces():
        match = max(found, key=lambda face: face.bbox.iou(known.bbox))
        assert match.bbox.iou(known.bbox) > 0.5
        assert np.abs(match.landmarks - known.landmarks).max() < 0.15 * known.bbox.height
        assert (match.landmarks >= (match.bbox.left, match.bbox.top)).all()
        assert (match.landmarks <= (match.bbox.right, match.bbox.bottom)).all()


def test_gives_the_surest_face_first(models: Models) -> None:
    """Detections come by falling score, and scores are probabilities."""
    scores = [face.score for face in models.detector.detect(six_people())]
    assert scores == sorted(scores, reverse=True)
    assert 0 < scores[-1] <= scores[0] <= 1


@pytest.mark.parametrize("shape", [(1, 1, 3), (37, 1001, 3)])
def test_takes_pictures_of_any_size(models: Models, shape: tuple[int, int, int]) -> None:
    """A picture of one pixel or of an odd shape has no faces, and is no error."""
    assert [face for face in models.detector.detect(np.full(shape, 90, np.uint8)) if face.score > 0.6] == []


def test_facens_are_normalised_and_do_not_depend_on_the_batch(models: Models) -> None:
    """A face gets the same facen alone and among others; its length is 1 and its size what the pack says."""
    cuts = [align(six_people(), face.landmarks) for face in six_faces()]
    together = models.embedder.embed(cuts)
    alone = np.concatenate([models.embedder.embed([cut]) for cut in cuts])
    assert together.shape == (6, models.embedder.size) == (6, models.pack.facen_size)
    assert together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(together, alone, atol=1e-4)


def test_no_faces_make_no_facens(models: Models) -> None:
    """An empty batch is an empty result of the right width."""
    assert models.embedder.embed([]).shape == (0, models.embedder.size)


def test_facens_tell_people_apart(models: Models) -> None:
    """Another picture of a person, smaller and darker, is nearer than anybody else, on the right side of the
    medium threshold."""
    first = models.embedder.embed([_cut(six_people(), face) for face in six_faces()])
    cuts = []
    for person in range(6):
        smaller = (portrait(person, 70) * 0.7).astype(np.uint8)
        cuts.append(_cut(smaller, default_models().detector.detect(smaller)[0]))
    confidences = (1 + models.embedder.embed(cuts) @ first.T) / 2
    same = np.diag(confidences)
    others = confidences[~np.eye(6, dtype=bool)]
    assert same.min() > default_models().pack.thresholds.medium > others.max()

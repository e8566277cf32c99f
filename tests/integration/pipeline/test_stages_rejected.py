"""Faces that the stages do not post."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

import cv2
import numpy as np

from pipeline.faces.detector import Detector
from pipeline.models.loader import Models
from pipeline.stages import CameraStages, StageSettings
from pipeline.types import (
    Detection,
    Frame,
    Picture,
    Rectangle,
    UnobservedPipeline,
)
from pipeline.visits.regions import Region
from tests.camera_stages import CountingObserver, run
from tests.faces import empty, frame, placed, portrait, walk, wall


class UnsureDetector:
    """A real detector with lower scores."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector

    def detect(self, picture: Picture) -> list[Detection]:
        return [replace(face, score=0.75) for face in self._detector.detect(picture) if face.score >= 0.75]


class FooledDetector:
    """A real detector that also detects a face in a piece of wall in each full picture."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector

    def detect(self, picture: Picture) -> list[Detection]:
        found = self._detector.detect(picture)
        if picture.shape[:2] != (192, 320):
            return found
        landmarks = np.array([[20, 40], [44, 40], [32, 54], [23, 68], [41, 68]], np.float32)
        return [*found, Detection(Rectangle(5, 15, 60, 90), 0.8, landmarks)]


def test_a_visit_without_a_usable_face_is_not_announced(models: Models) -> None:
    """Faces that are too small make a visit that ends but was not announced."""
    observer = CountingObserver()
    run(CameraStages("gate", models, StageSettings(min_face_px=1000), observer), walk(2, 1))
    assert (observer.started, [ended.usable for ended in observer.ended]) == ([], [False])


def test_unrecognisable_shots_are_not_posted(models: Models) -> None:
    """A piece of wall that the detector takes for a face is `unrecognisable`. With `store_unrecognisable` it
    is posted, with a quality score that creates no person."""
    fooled = replace(models, detector=FooledDetector(models.detector))
    observer = CountingObserver()
    frames = [*walk(2, 1)]
    (person,) = run(CameraStages("gate", fooled, StageSettings(), observer), frames)
    assert person.bbox.left > 60
    assert observer.shots["unrecognisable"] >= 7
    settings = StageSettings(min_score=-10, store_unrecognisable=True)
    both = run(CameraStages("gate", fooled, settings, UnobservedPipeline()), frames)
    wall_shot, again = sorted(both, key=lambda sighting: sighting.bbox.left)
    assert wall_shot.score < -3 < again.score
    assert wall_shot.detector_info["quality"]["recognisability"] == -3


def test_false_detections_are_not_co_visible(models: Models) -> None:
    """Only visits with a shot worth posting count as other people."""
    fooled = replace(models, detector=FooledDetector(models.detector))

    def three() -> Iterable[Frame]:
        for number in range(12):
            scene = wall()
            for person, x in ((2, 130), (5, 250)):
                placed(scene, portrait(person, 70), x, 96)
            yield frame(scene, number / 8)

    first, second = run(CameraStages("gate", fooled, StageSettings(), UnobservedPipeline()), three())
    assert (first.co_visible, second.co_visible) == ((second.visit_id,), (first.visit_id,))


def test_rejected_shots_are_counted_by_outcome(models: Models) -> None:
    """Too small, of low quality, or outside `roi`."""
    for settings, outcome in (
        (StageSettings(min_face_px=200), "small"),
        (StageSettings(min_score=-0.01), "low_quality"),
        (StageSettings(roi=Region.from_shapes([[0, 0, 0.1, 0.1]])), "outside_roi"),
    ):
        observer = CountingObserver()
        assert run(CameraStages("gate", models, settings, observer), walk(2, 1)) == []
        assert set(observer.shots) == {outcome}
        assert observer.counts["visits"] == 1


def test_faces_outside_rot_are_not_tracked(models: Models) -> None:
    """A face outside `rot` makes no visit and no shot."""
    observer = CountingObserver()
    settings = StageSettings(rot=Region.from_shapes([[0, 0, 0.1, 1]]))
    assert run(CameraStages("gate", models, settings, observer), walk(2, 1)) == []
    assert (observer.shots, observer.counts["visits"]) == (Counter(), 0)


def test_an_inverted_camera_posts_nothing(models: Models) -> None:
    """Faces that are upside down are useless."""
    frames = [frame(np.asarray(cv2.flip(f.pixels.bgr(), -1), np.uint8), f.media_time) for f in walk(2, 1)]
    observer = CountingObserver()
    assert run(CameraStages("gate", models, StageSettings(), observer), frames) == []


def test_a_single_uncertain_detection_is_not_posted(models: Models) -> None:
    """It is counted as low_quality."""
    observer = CountingObserver()
    stages = CameraStages(
        "gate", replace(models, detector=UnsureDetector(models.detector)), StageSettings(), observer
    )
    assert run(stages, [*list(walk(2, 1))[-1:], *empty(2, start=1, fps=2)]) == []
    assert (observer.shots, observer.counts["visits"]) == (Counter(low_quality=1), 0)

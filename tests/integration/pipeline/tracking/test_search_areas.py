"""The areas that are searched for faces."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

import cv2
import numpy as np
import pytest

from pipeline.faces.detector import Detector
from pipeline.models.loader import Models
from pipeline.stages import CameraStages, StageSettings
from pipeline.tracking.search_areas import SearchArea, SearchAreas
from pipeline.types import Detection, Frame, Picture, Rectangle, Scene, Sighting, UnobservedPipeline
from tests.faces import frame, placed, portrait, wall

FACE = Rectangle(900, 300, 960, 380)
"""In a frame of 1920 × 1080; the detector's picture has a third of that."""


class Noting:
    """A detector that notes the size of each picture that it looks at."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self.areas: list[int] = []

    def detect(self, picture: Picture) -> list[Detection]:
        self.areas.append(picture.shape[0] * picture.shape[1])
        return self._detector.detect(picture)


def part(search: SearchAreas, now: float, *faces: Rectangle) -> SearchArea | None:
    return search.next_area(faces, 640, 360, 1 / 3, now)


def run(stages: CameraStages, frames: Iterable[Frame]) -> list[Sighting]:
    return [sighting for one in frames for sighting in stages.process(one)] + stages.finish()


def test_an_area_contains_the_face_with_a_margin_on_the_detectors_grid() -> None:
    search = SearchAreas(0.5)
    assert part(search, 0.0) is None
    assert part(search, 0.1, FACE) == (256, 64, 384, 192)


def test_the_whole_picture_is_searched_twice_a_second_and_without_known_faces() -> None:
    """Also after the media time restarts."""
    search = SearchAreas(0.5)
    assert part(search, 5.0, FACE) is None
    assert part(search, 5.4, FACE) is not None
    assert part(search, 5.5, FACE) is None
    assert part(search, 5.6, FACE) is not None
    assert part(search, 5.7) is None
    assert part(search, 2.0, FACE) is None


@pytest.mark.parametrize(
    "face",
    [Rectangle(-40, -30, 20, 50), Rectangle(1900, 1060, 1990, 1170), Rectangle(2000, 1200, 2090, 1300)],
)
def test_an_area_at_the_edge_lies_in_the_picture(face: Rectangle) -> None:
    """For faces that are partly or completely outside."""
    search = SearchAreas(0.5)
    part(search, 0.0)
    found = part(search, 0.1, face)
    assert found is not None
    assert 0 <= found.left < found.right <= 640
    assert 0 <= found.top < found.bottom <= 360


def test_the_whole_picture_is_searched_for_large_or_distant_faces() -> None:
    """A large area saves too little time."""
    search = SearchAreas(0.5)
    part(search, 0.0)
    assert part(search, 0.1, Rectangle(1700, 90, 1790, 180), Rectangle(20, 900, 90, 990)) is None
    assert part(search, 0.2, Rectangle(500, 200, 1100, 900)) is None


def test_areas_do_not_change_the_visits(models: Models) -> None:
    """The sightings are the same as with full searches of every frame."""
    large = []
    for number in range(16):
        scene = np.asarray(cv2.resize(wall(), (1280, 768)), np.uint8)
        placed(scene, portrait(2, 120), 400 + 8 * number, 384)
        large.append(frame(scene, number / 10))
    noting = Noting(models.detector)
    stages = CameraStages("gate", replace(models, detector=noting), StageSettings(), UnobservedPipeline())
    (sighting,) = run(stages, large)
    everything = replace(models, near_detector=None)
    (plain,) = run(CameraStages("gate", everything, StageSettings(), UnobservedPipeline()), large)
    assert sum(area == 640 * 384 for area in noting.areas) <= 5
    assert sum(area < 640 * 384 / 2 for area in noting.areas) >= 8
    assert float(sighting.facen @ plain.facen) > 0.8


def test_a_second_person_is_found_while_an_area_is_searched(models: Models) -> None:
    """Within half a second."""
    frames = []
    for number in range(24):
        scene = wall()
        placed(scene, portrait(0, 60), 50, 96)
        if number >= 9:
            placed(scene, portrait(5, 60), 270, 96)
        frames.append(frame(scene, number / 10))
    first, second = sorted(
        run(CameraStages("gate", models, StageSettings(), UnobservedPipeline()), frames), key=_started_at
    )
    assert 0.8 <= (_started_at(second) - _started_at(first)).total_seconds() <= 1.4


def _started_at(sighting: Sighting) -> datetime:
    return datetime.fromisoformat(str(sighting.detector_info["visit_started_at"]))


@pytest.mark.parametrize(("scene", "looks"), [(Scene.DUE, 1), (Scene.MOVING, 5)])
def test_the_orientation_is_not_checked_in_a_still_scene(models: Models, scene: Scene, looks: int) -> None:
    """It would take four detections."""
    noting = Noting(models.detector)
    watched = replace(models, detector=noting)
    stages = CameraStages(
        "gate", watched, StageSettings(), UnobservedPipeline(), motion_check=lambda _: scene
    )
    stages.process(frame(wall(), 1.0))
    assert len(noting.areas) == looks

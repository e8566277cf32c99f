"""Which frames the stages analyse, and how often they convert a full frame."""

from collections import Counter

import cv2
import numpy as np
import pytest

from pipeline.models.loader import Models
from pipeline.stages import CameraStages, StageSettings
from pipeline.types import (
    ArrayPixels,
    Frame,
    Picture,
    Scene,
    UnobservedPipeline,
)
from tests.camera_stages import CountingObserver, run
from tests.faces import empty, frame, walk


def test_the_analysis_rate_does_not_depend_on_the_frame_rate(models: Models) -> None:
    """Of 25 frames a second, 10 are analysed while a face is in view, and 5 before."""
    observer = CountingObserver()
    stages = CameraStages("gate", models, StageSettings(max_fps=10), observer)
    run(stages, empty(4, start=0, fps=25), finish=False)
    assert observer.counts["analysed"] == pytest.approx(20, abs=1)
    person = list(walk(2, 1, start=4))[-1]
    run(stages, [frame(person.pixels.bgr(), 4 + number / 25) for number in range(50)])
    assert observer.counts["analysed"] == pytest.approx(20 + 20, abs=2)


def test_still_frames_are_skipped_unless_a_face_is_in_view(models: Models) -> None:
    """A face that stands still is analysed at intervals, and stays one visit."""
    scene, observer = Scene.STILL, CountingObserver()
    stages = CameraStages("gate", models, StageSettings(), observer, motion_check=lambda _: scene)
    run(stages, empty(2, start=0), finish=False)
    assert observer.counts == Counter(motion=4)
    scene = Scene.MOVING
    person = list(walk(2, 3, start=2))[:4]
    run(stages, person, finish=False)
    scene = Scene.STILL
    standing = [frame(person[-1].pixels.bgr(), 2.5 + number / 8) for number in range(40)]
    before = observer.counts["analysed"]
    sightings = run(stages, standing)
    assert observer.counts["analysed"] - before == pytest.approx(10, abs=2)
    assert len(sightings) == 1


def test_in_view_ends_before_the_visit(models: Models) -> None:
    """The visit continues for a moment, because the face may return."""
    stages = CameraStages("gate", models, StageSettings(), UnobservedPipeline())
    assert not stages.in_view
    run(stages, list(walk(2, 3, start=0))[-4:], finish=False)
    assert stages.in_view
    run(stages, empty(1, start=3), finish=False)
    assert stages.busy
    assert not stages.in_view


def test_the_wanted_frame_rate_depends_on_the_scene(models: Models) -> None:
    """Still: 2, motion: 5, a face in view: 10 frames a second, each from the next frame on."""
    scene, observer = Scene.STILL, CountingObserver()
    stages = CameraStages("gate", models, StageSettings(), observer, motion_check=lambda _: scene)
    assert stages.wanted_fps == 5
    run(stages, empty(3, start=0, fps=25), finish=False)
    assert observer.counts == Counter(motion=6)
    assert stages.wanted_fps == 2
    scene = Scene.MOVING
    run(stages, empty(3, start=3, fps=25), finish=False)
    assert observer.counts["analysed"] == pytest.approx(15, abs=1)
    run(stages, list(walk(2, 1, start=6))[-1:], finish=False)
    assert stages.wanted_fps == 10
    run(stages, empty(3, start=7, fps=25), finish=False)
    assert stages.wanted_fps == 5
    scene = Scene.DUE
    run(stages, empty(1, start=10, fps=25), finish=False)
    assert stages.wanted_fps == 2


class CountedPixels(ArrayPixels):
    """Pixels that record each conversion at full size."""

    def __init__(self, picture: Picture, wanted: list[int]) -> None:
        super().__init__(picture)
        self._wanted = wanted

    def bgr(self, width: int | None = None, height: int | None = None) -> Picture:
        if (width or self.width) == self.width:
            self._wanted.append(1)
        return super().bgr(width, height)


@pytest.mark.parametrize(("shots", "most"), [(1, 3), (4, 3)])
def test_full_frames_are_converted_only_for_crops(models: Models, shots: int, most: int) -> None:
    """At most one per interval between a visit's shots."""
    wanted: list[int] = []
    frames = []
    for one in walk(2, 1):
        large = np.asarray(cv2.resize(one.pixels.bgr(), (1280, 768)), np.uint8)
        frames.append(Frame(one.cam_id, one.captured_at, one.media_time, CountedPixels(large, wanted)))
    settings = StageSettings(visit_shots=shots)
    assert len(run(CameraStages("gate", models, settings, UnobservedPipeline()), frames)) == 1
    assert 1 <= len(wanted) <= most

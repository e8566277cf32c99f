"""Cuts end tracks; motion in the scene does not."""

import cv2
import numpy as np
import pytest

from pipeline.models.loader import Models
from pipeline.stages import CameraStages, StageSettings
from pipeline.tracking.scene_cuts import CutDetector
from pipeline.types import Picture, UnobservedPipeline
from tests.faces import frame, placed, portrait, wall


def luma(picture: Picture) -> np.ndarray:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)


def stripes() -> Picture:
    """Another scene: dark and light stripes."""
    picture = np.full((192, 320, 3), 30, np.uint8)
    picture[:, 20::40] = picture[:, 21::40] = 220
    picture[96:] = np.uint8(200)
    return picture


def test_another_scene_and_a_switched_light_are_cuts() -> None:
    """Only the first different frame is a cut; after a pause or a restart there is no cut."""
    bright = np.clip(wall().astype(np.float32) * 1.7, 0, 255).astype(np.uint8)
    cuts = CutDetector()
    pictures = [wall(), wall(), stripes(), stripes(), wall(), bright, bright]
    assert [cuts.update(luma(picture), n / 5) for n, picture in enumerate(pictures)] == [0, 0, 1, 0, 1, 1, 0]
    assert not cuts.update(luma(stripes()), 2.2)
    assert cuts.update(luma(wall()), 2.4)
    cuts.restart()
    assert not cuts.update(luma(stripes()), 2.6)


@pytest.mark.parametrize("face_px", [40, 70])
def test_people_and_noise_are_no_cut(face_px: int) -> None:
    """A person who appears, moves and disappears in a noisy picture with slightly changing light."""
    cuts, noise = CutDetector(), np.random.default_rng(1)
    for number, x in enumerate((None, 60, 160, 260, None)):
        scene = wall()
        if x is not None:
            placed(scene, portrait(number, face_px), x, 96)
        grain = noise.normal(0, 6, scene.shape)
        assert not cuts.update(luma(np.clip(scene * 1.05 + grain, 0, 255).astype(np.uint8)), number / 5)


def test_a_cut_begins_new_visits(models: Models) -> None:
    """Two people at the same position before and after a cut are two visits, and not co-visible."""
    for before, after, gain in ((2, 0, 1.0), (2, 2, 0.45)):
        stages = CameraStages("gate", models, StageSettings(), UnobservedPipeline())
        sightings = []
        for number in range(16):
            scene = wall() if number < 8 or gain != 1 else stripes()
            placed(scene, portrait(before if number < 8 else after, 60), 160, 96)
            if number >= 8:
                scene = np.clip(scene * gain, 0, 255).astype(np.uint8)
            sightings += stages.process(frame(scene, number / 8))
        sightings += stages.finish()
        assert len(sightings) == 2
        assert sightings[0].media_time < 1 <= sightings[1].media_time
        assert sightings[0].visit_id != sightings[1].visit_id
        assert [one.co_visible for one in sightings] == [(), ()]

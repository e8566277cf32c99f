"""From frames to facens, for six real people."""

import numpy as np

from pipeline.stages import CameraStages, StageSettings
from pipeline.types import Sighting, UnobservedPipeline
from tests.faces import default_models, empty, frame, walk


def test_six_people_are_recognised_on_their_second_visit() -> None:
    """The second time they are larger and darker; each facen is nearest to that of the same person."""
    models = default_models()
    stages = CameraStages("gate", models, StageSettings(), UnobservedPipeline())
    rounds: list[list[Sighting]] = []
    for turn, gain in enumerate((1.0, 0.7)):
        sightings = []
        for person in range(6):
            start = (turn * 6 + person) * 5.0
            frames = list(walk(person, 1.5, fps=4, largest_px=100 + 40 * turn, start=start))
            frames = [frame((f.pixels.bgr() * gain).astype(np.uint8), f.media_time) for f in frames]
            for one in (*frames, *empty(2, start=start + 2, fps=1)):
                sightings += stages.process(one)
        rounds.append(sightings)
    assert [len(sightings) for sightings in rounds] == [6, 6]
    first, second = (np.stack([s.facen for s in sightings]) for sightings in rounds)
    confidences = (1 + second @ first.T) / 2
    medium = models.pack.thresholds.medium
    assert np.diag(confidences).min() > medium
    assert confidences[~np.eye(6, dtype=bool)].max() < medium
    assert len({s.visit_id for sightings in rounds for s in sightings}) == 12

"""The shots from which a visit's facen is computed."""

import weakref

import numpy as np
import pytest

from pipeline.types import Detection, Quality, Rectangle
from pipeline.visits.best_shot import Shot
from pipeline.visits.visit_shots import FaceCrop, VisitShots, visit_facen
from tests.facens import like, person_facen
from tests.faces import frame, wall


def shot(score: float, seconds: float) -> Shot:
    detection = Detection(Rectangle(0, 0, 9, 9), 0.9, np.zeros((5, 2), np.float32))
    return Shot(frame(wall(8, 8), seconds), detection, Quality(score, {}))


def run(shots: VisitShots, scores: list[float]) -> list[tuple[float, float]]:
    """Adds a shot every 0.1 s, and returns score and time of each crop that was kept."""
    for number, score in enumerate(scores):
        now = number / 10
        if shots.wants(score):
            shots.hold(shot(score, now))
        if (ripe := shots.due(now)) is not None:
            shots.keep(FaceCrop(wall(8, 8), True, ripe.quality.score, ripe.frame.media_time))
    return [(cut.score, cut.media_time) for cut in shots.crops]


def test_the_best_of_each_interval_is_kept() -> None:
    """Shots close together are nearly the same picture."""
    kept = run(VisitShots(4), [-2.0, -1.0, -2.0, -2.0, -2.0, -2.0, -2.0, -0.5, -2.0, -2.0])
    assert kept == [(-0.5, 0.7), (-1.0, 0.1)]


def test_better_shots_replace_the_poorest() -> None:
    """A visit whose shots improve keeps the last ones, up to the limit."""
    kept = run(VisitShots(3), [-5 + 0.1 * number for number in range(41)])
    assert len(kept) == 3
    assert min(time for _, time in kept) > 2.5


def test_shots_of_the_same_quality_are_not_wanted_once_there_are_enough() -> None:
    """No frame is held."""
    shots = VisitShots(2)
    run(shots, [-1.0] * 20)
    assert not shots.wants(-1.0)
    assert shots.release() is None


def test_a_frame_is_released_at_the_end_of_its_interval() -> None:
    """It takes megabytes of memory."""
    shots = VisitShots(4)
    shots.hold(held := shot(-1.0, 0.0))
    pixels = weakref.ref(held.frame.pixels)
    del held
    assert shots.due(0.3) is None
    assert pixels() is not None
    assert shots.due(0.5) is not None
    assert pixels() is None


def test_the_facen_is_the_weighted_mean_of_the_agreeing_shots() -> None:
    """Better shots have more weight; the result has length 1; another person's shot is excluded and
    counted."""
    anna, again, bert = person_facen(1), like(person_facen(1), 0.8), person_facen(2)
    together = visit_facen(np.stack([anna, again, bert]), [-1.0, -3.0, -1.0], 0.7)
    assert (together.shots, together.disagreeing) == (2, 1)
    assert together.agreement == pytest.approx(0.9, abs=1e-5)
    assert float(np.linalg.norm(together.facen)) == pytest.approx(1, abs=1e-6)
    assert float(together.facen @ anna) > float(together.facen @ again) > 0.8
    mean = 4 * anna + again
    assert np.allclose(together.facen, mean / np.linalg.norm(mean), atol=1e-5)


def test_the_facen_of_a_visit_with_one_shot_is_that_of_the_shot() -> None:
    """Its agreement is 1."""
    anna = person_facen(1)
    alone = visit_facen(anna[np.newaxis], [-1.0], 0.7)
    assert (alone.shots, alone.agreement, alone.disagreeing) == (1, 1.0, 0)
    assert np.allclose(alone.facen, anna, atol=1e-6)

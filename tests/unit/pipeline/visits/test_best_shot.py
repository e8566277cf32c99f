"""Selection of the posted shot, and the time of the post."""

import weakref

import numpy as np
import pytest

from pipeline.types import Detection, Quality, Rectangle
from pipeline.visits.best_shot import BestShot, Posting, Shot, ShotOutcome
from tests.faces import frame, wall


def shot(score: float, seconds: float) -> Shot:
    detection = Detection(Rectangle(0, 0, 9, 9), 0.9, np.zeros((5, 2), np.float32))
    return Shot(frame(wall(8, 8), seconds), detection, Quality(score, {}))


def run(best: BestShot, scores: list[float]) -> list[float]:
    """One shot a tenth of a second; gives the scores of what was posted meanwhile."""
    posted = []
    for number, score in enumerate(scores):
        if best.beaten_by(score):
            best.replace(shot(score, number / 10))
        if (due := best.due(number / 10)) is not None:
            posted.append(due.quality.score)
    return posted


def test_overall_posts_the_best_once_at_the_end() -> None:
    """Nothing during the visit, then the best shot."""
    best = BestShot(Posting.OVERALL, 1.0)
    assert run(best, [-2.0, -0.5, -1.0] * 10) == []
    last, outcome = best.last()
    assert last is not None
    assert (last.quality.score, last.frame.media_time, outcome) == (-0.5, 0.1, None)
    assert best.last() == (None, ShotOutcome.DUPLICATE)


def test_realtime_posts_only_better_shots() -> None:
    """The first post is delayed by half a second; later ones keep the interval and need a better shot."""
    best = BestShot(Posting.REALTIME, 1.0)
    scores = [-3.0] * 3 + [-2.0] * 10 + [-1.0] * 20 + [-1.5] * 20
    assert run(best, scores) == [-2.0, -1.0]
    assert best.last() == (None, None)


def test_realtime_posts_a_short_visit_at_its_end() -> None:
    """Even if it ends before the first post is due."""
    best = BestShot(Posting.REALTIME, 5.0)
    assert run(best, [-1.0, -0.5]) == []
    last, _ = best.last()
    assert last is not None
    assert last.quality.score == -0.5


def test_both_does_not_post_the_same_picture_twice() -> None:
    """If the best shot was already posted, the end counts a duplicate and posts nothing."""
    best = BestShot(Posting.BOTH, 1.0)
    assert run(best, [-1.0] * 20) == [-1.0]
    assert best.last() == (None, ShotOutcome.DUPLICATE)
    better = BestShot(Posting.BOTH, 10.0)
    assert run(better, [-2.0] * 6 + [-1.0] * 3) == [-2.0]
    last, _ = better.last()
    assert last is not None
    assert last.quality.score == -1.0


def test_a_slightly_better_score_does_not_replace_the_best_shot() -> None:
    """A shot that is better by a hair does not replace the best one."""
    best = BestShot(Posting.REALTIME, 0.1)
    assert run(best, [-1.0 + 0.001 * step for step in range(50)]) == [-1.0]


def test_a_posted_frame_is_released() -> None:
    """Only its score is kept."""
    best = BestShot(Posting.BOTH, 1.0)
    best.replace(posted := shot(-1.0, 0))
    pixels = weakref.ref(posted.frame.pixels)
    assert best.due(0.5) is posted
    del posted
    assert pixels() is None
    assert not best.beaten_by(-1.0)


@pytest.mark.parametrize(("posted_before", "expected"), [(False, True), (True, False)])
def test_a_replaced_shot_is_counted_if_it_was_not_posted(posted_before: bool, expected: bool) -> None:
    """Every shot has one outcome."""
    best = BestShot(Posting.REALTIME, 0.0)
    assert best.replace(shot(-2.0, 0)) is False
    if posted_before:
        assert best.due(0.1) is not None
    assert best.replace(shot(-1.0, 0.2)) is expected

"""Accuracy by ten folds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.evaluation.folds import Accuracy, accuracy, best_threshold
from daemon.evaluation.rates import NO_FACE

PAIRS = st.lists(
    st.tuples(st.one_of(st.just(NO_FACE), st.integers(0, 20).map(lambda step: step / 20)), st.booleans()),
    min_size=2,
    max_size=40,
)


@given(PAIRS)
def test_no_threshold_judges_more_pairs_right_than_the_best_one(pairs):
    """Tried against every place where the judgement could change."""
    confidences, same = (np.array(part) for part in zip(*pairs, strict=True))
    best = ((confidences >= best_threshold(confidences, same)) == same).sum()
    tried = [0.0, *(step / 20 for step in range(21)), 1.01]
    assert best == max(((confidences >= threshold) == same).sum() for threshold in tried)


@given(PAIRS)
def test_the_best_threshold_lets_no_faceless_pair_pass(pairs):
    """It is 0 or more."""
    confidences, same = (np.array(part) for part in zip(*pairs, strict=True))
    assert best_threshold(confidences, same) >= 0


def test_the_best_threshold_lies_in_the_middle_of_the_gap():
    """Neither kind is favoured."""
    assert best_threshold(np.array([0.2, 0.4, 0.8]), np.array([False, False, True])) == pytest.approx(0.6)


def test_the_threshold_of_a_fold_does_not_see_that_fold():
    """A large fold whose pairs lie elsewhere would win the vote; the others' threshold judges it wrong."""
    confidences = np.array([0.2, 0.4] * 3 + [0.7, 0.9] * 5)
    scores = accuracy(confidences, np.array([False, True] * 8), np.array([0, 0, 1, 1, 2, 2] + [3] * 10))
    assert scores.folds[3] == 0.5
    assert scores.thresholds[3] == pytest.approx(0.3)


def test_the_mean_and_its_standard_error_are_those_of_the_folds():
    """Three folds judged right, and one half right."""
    scores = Accuracy((1.0, 1.0, 1.0, 0.5), (0.3,) * 4)
    assert scores.mean == 0.875
    assert scores.standard_error == pytest.approx(np.std([1, 1, 1, 0.5], ddof=1) / 2)

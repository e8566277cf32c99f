"""Error rates, curves and their bounds."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.evaluation.rates import NO_FACE, at_far, at_threshold, can_demonstrate, roc, upper_bound

CONFIDENCES = st.lists(
    st.one_of(st.just(NO_FACE), st.integers(0, 20).map(lambda step: step / 20)), min_size=1, max_size=40
).map(np.array)


@given(CONFIDENCES, CONFIDENCES)
def test_the_area_is_how_often_a_genuine_confidence_is_the_higher_one(genuine, impostor):
    """AUC is the Mann-Whitney statistic, ties counted half."""
    wins = (genuine[:, None] > impostor).mean() + (genuine[:, None] == impostor).mean() / 2
    assert roc(genuine, impostor).auc == pytest.approx(wins)


@given(CONFIDENCES, CONFIDENCES)
def test_the_curve_agrees_with_counting_at_each_of_its_thresholds(genuine, impostor):
    """FAR and TAR of a point are those that its threshold gives, and both only grow."""
    curve = roc(genuine, impostor)
    for threshold, far, tar in zip(curve.thresholds, curve.far, curve.tar, strict=True):
        point = at_threshold(genuine, impostor, threshold)
        assert (point.far, point.tar) == pytest.approx((far, tar))
    assert (np.diff(curve.far) >= 0).all() and (np.diff(curve.tar) >= 0).all()
    assert (curve.far[0], curve.tar[0], curve.far[-1], curve.tar[-1]) == (0, 0, 1, 1)


@given(CONFIDENCES, CONFIDENCES)
def test_the_equal_error_rate_does_not_care_which_kind_is_which(genuine, impostor):
    """Turning all confidences round and swapping the kinds is the same question."""
    assert roc(genuine, impostor).eer == pytest.approx(roc(-impostor, -genuine).eer)


@given(CONFIDENCES, CONFIDENCES, st.sampled_from([0.5, 0.1, 0.03, 1e-3]))
def test_the_point_at_a_false_accept_rate_is_the_best_one_that_keeps_it(genuine, impostor, far):
    """The false accept rate is kept, and no lower threshold of the curve would keep it."""
    point = at_far(genuine, impostor, far)
    assert point.far <= far + 1e-9
    for threshold in roc(genuine, impostor).thresholds:
        if 0 <= threshold < point.threshold:
            assert at_threshold(genuine, impostor, threshold).far > far


def test_the_rates_of_a_case_counted_by_hand():
    """Four genuine pairs, one without a face, and four impostors, one of them above a genuine one."""
    genuine, impostor = np.array([0.9, 0.8, 0.6, NO_FACE]), np.array([0.7, 0.5, 0.4, 0.3])
    point = at_threshold(genuine, impostor, 0.55)
    assert (point.far, point.tar, point.frr) == (0.25, 0.75, 0.25)
    assert roc(genuine, impostor).eer == pytest.approx(0.25)
    assert at_far(genuine, impostor, 0.1).tar == 0.5


def test_kinds_that_do_not_overlap_have_no_equal_error():
    """Perfect separation: EER 0, AUC 1."""
    curve = roc(np.array([0.8, 0.9]), np.array([0.1, 0.2]))
    assert (curve.eer, curve.auc) == (0, 1)


def test_a_pair_without_a_face_passes_at_no_threshold():
    """Even when everybody may pass, it is not matched."""
    assert at_far(np.array([NO_FACE]), np.array([NO_FACE]), 1.0).false_accepts == 0
    assert at_threshold(np.array([NO_FACE]), np.array([0.5]), 0.0).false_rejects == 1


@given(st.integers(20, 100_000))
def test_without_events_the_bound_is_the_rule_of_three(trials):
    """About 3 / n, never more."""
    assert 2.7 / trials < upper_bound(0, trials) <= 3 / trials


def test_the_bound_keeps_its_promise():
    """With a true rate at the bound, so few events or fewer happen one time in twenty."""
    bound, trials = upper_bound(2, 50), 50
    chance = sum(math.comb(trials, k) * bound**k * (1 - bound) ** (trials - k) for k in range(3))
    assert chance == pytest.approx(0.05)


def test_everything_wrong_bounds_nothing():
    """All events, or no trials: any rate is possible."""
    assert upper_bound(5, 5) == upper_bound(0, 0) == 1


def test_a_rate_needs_three_times_its_inverse_of_pairs():
    """1e-3 takes 3,000 pairs."""
    assert can_demonstrate(3000, 1e-3) and not can_demonstrate(2999, 1e-3)

"""Thresholds as a function of the number of persons."""

import itertools
import math

import pytest

from pipeline.models.packs import known_packs
from pipeline.models.thresholds import MatchRate, Thresholds

MEASURED = Thresholds(
    0.8,
    0.75,
    0.6,
    match_rates=(
        MatchRate(0.65, 1000, 100_000, (0, 1), 0.99),
        MatchRate(0.70, 10, 100_000, (0, 1), 0.97),
    ),
)
ZOO = known_packs()[0].thresholds


@pytest.mark.parametrize(
    ("rate", "confidence"), [(1e-2, 0.65), (1e-3, 0.675), (1e-4, 0.70), (1e-6, 0.75), (1e-1, 0.625)]
)
def test_the_confidence_of_a_false_match_rate_is_interpolated(rate: float, confidence: float) -> None:
    """Measured rates have the measured confidence; others follow linearly in the logarithm."""
    assert MEASURED.at_false_match_rate(rate) == pytest.approx(confidence)


@pytest.mark.parametrize("persons", [40, 1_000, 40_000])
def test_the_false_positive_identification_rate_is_as_requested(persons: int) -> None:
    """With as many independent comparisons as persons."""
    threshold = MEASURED.for_gallery(persons, 0.003)
    rate = 10 ** (-2 - 2 * (threshold - 0.65) / 0.05)
    assert 1 - math.pow(1 - rate, persons) == pytest.approx(0.003, rel=1e-6)


def test_the_threshold_grows_with_the_number_of_persons() -> None:
    """It is never below `low` or the threshold for 40 persons, and never above 1."""
    thresholds = [ZOO.for_gallery(persons, 0.003) for persons in (0, 1, 40, 1_000, 40_000, 10**9)]
    assert thresholds == sorted(thresholds)
    assert thresholds[0] == thresholds[2]
    assert ZOO.low < thresholds[2] < ZOO.medium < thresholds[3] < ZOO.strict < thresholds[4] < 1
    assert ZOO.for_gallery(1, 0.1) == ZOO.low
    assert ZOO.for_gallery(10**9, 1e-6) <= 1


def test_a_pack_without_measured_rates_has_a_fixed_threshold() -> None:
    """`medium`."""
    unmeasured = next(pack.thresholds for pack in known_packs() if not pack.thresholds.match_rates)
    assert {unmeasured.for_gallery(persons, 0.003) for persons in (1, 40_000)} == {unmeasured.medium}


@pytest.mark.parametrize("pack", known_packs(), ids=lambda pack: pack.name)
def test_measured_rates_are_in_order(pack) -> None:
    """At a higher confidence there are fewer false and fewer true matches; each rate lies in its interval."""
    rates = pack.thresholds.match_rates
    assert len(rates) != 1
    for rate in rates:
        assert rate.interval[0] < rate.false_match_rate < rate.interval[1]
    for lower, higher in itertools.pairwise(rates):
        assert lower.confidence < higher.confidence
        assert lower.false_match_rate > higher.false_match_rate
        assert lower.true_match_rate >= higher.true_match_rate

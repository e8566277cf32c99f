"""Quantiles of a histogram of the metrics."""

import math

import pytest

from daemon.benchmarks.histograms import quantile

BUCKETS = [(0.1, 10.0), (0.2, 10.0), (0.4, 90.0), (math.inf, 100.0)]


@pytest.mark.parametrize(
    ("share", "value"), [(0.05, 0.05), (0.1, 0.1), (0.5, 0.3), (0.9, 0.4), (0.95, math.inf), (1.0, math.inf)]
)
def test_a_quantile_lies_within_its_bucket(share: float, value: float) -> None:
    """Linear between bucket edges; unknown beyond the last one."""
    assert quantile(BUCKETS, share) == pytest.approx(value)


@pytest.mark.parametrize("buckets", [[], [(0.1, 0.0), (math.inf, 0.0)]])
def test_nothing_observed_has_no_quantile(buckets: list[tuple[float, float]]) -> None:
    """Not zero, which would look good."""
    assert math.isnan(quantile(buckets, 0.5))

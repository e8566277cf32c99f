"""Quantiles of Prometheus histograms."""

import math
from collections.abc import Sequence


def quantile(buckets: Sequence[tuple[float, float]], share: float) -> float:
    """The quantile of a histogram, interpolated linearly within a bucket as Prometheus does.

    `buckets`: upper edge, the last one infinite, and cumulative count or rate. NaN without observations;
    infinite beyond the last finite edge.
    """
    if not buckets or not buckets[-1][1]:
        return math.nan
    wanted, left, below = share * buckets[-1][1], 0.0, 0.0
    for right, count in buckets:
        if count >= wanted:
            if math.isinf(right) or count == below:
                return right
            return left + (right - left) * (wanted - below) / (count - below)
        left, below = right, count
    return math.inf

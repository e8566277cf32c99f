"""Quantiles of a histogram of the metrics."""

import math
from collections.abc import Sequence


def quantile(buckets: Sequence[tuple[float, float]], share: float) -> float:
    """The value that this share of what was observed has at most; NaN where nothing was observed.

    `buckets`: upper edge, the last one infinite, and how many are at most that, or how many a second. Within
    a bucket linear, as Prometheus does it; beyond the last finite edge infinite, since nobody knows how far.
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

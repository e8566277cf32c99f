"""Is the quality score worth something? Error-versus-discard characteristic, as in ISO/IEC 29794-1.

Genuine pairs are discarded by the quality of their poorer picture, the poorest first, and the rate of those
left that do not match is measured at a fixed threshold. A useful quality score makes it fall.
"""

from dataclasses import dataclass

import numpy as np

from daemon.evaluation.rates import Numbers

SHARES = tuple(round(0.05 * step, 2) for step in range(11))
"""0 to a half."""

STARTING_ERROR = 0.05
"""A rate of false non-matches to begin with, where the usual threshold leaves hardly any to discard."""


@dataclass(frozen=True, slots=True)
class DiscardCurve:
    name: str
    threshold: float
    discarded: tuple[float, ...]
    """Shares of the genuine pairs, growing."""
    fnmr: tuple[float, ...]
    """False non-match rate among the rest."""

    @property
    def largest_rise(self) -> float:
        """By how much it is ever above an earlier point of its own; 0 where it never rises."""
        lowest, rise = self.fnmr[0], 0.0
        for rate in self.fnmr:
            lowest = min(lowest, rate)
            rise = max(rise, rate - lowest)
        return rise


def discard_curve(name: str, genuine: Numbers, quality: Numbers, threshold: float) -> DiscardCurve:
    """`quality` is that of the poorer picture of each genuine pair; pairs of equal quality go in the order
    in which they come."""
    missed = (genuine < threshold)[np.argsort(quality, kind="stable")]
    fnmr = [float(missed[int(share * len(missed)) :].mean()) for share in SHARES]
    return DiscardCurve(name, threshold, SHARES, tuple(fnmr))


def starting_threshold(genuine: Numbers, error: float = STARTING_ERROR) -> float:
    """The threshold that so large a share of the genuine pairs does not reach."""
    ranked = np.sort(genuine)
    return float(ranked[min(len(ranked) - 1, int(np.ceil(error * len(ranked))))])

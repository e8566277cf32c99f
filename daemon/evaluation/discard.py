"""How useful the quality score is: the error-versus-discard characteristic of ISO/IEC 29794-1.

Genuine pairs are discarded by the quality of their poorer picture, poorest first; the false non-match rate
(FNMR) of the remaining pairs is measured at a fixed threshold. A useful quality score makes it fall.
"""

from dataclasses import dataclass

import numpy as np

from daemon.evaluation.rates import Numbers

SHARES = tuple(round(0.05 * step, 2) for step in range(11))
"""Discarded shares of the genuine pairs, 0 to 0.5."""

STARTING_ERROR = 0.05
"""FNMR at the start of the additional curve, for pictures on which the pack's thresholds give few errors."""


@dataclass(frozen=True, slots=True)
class DiscardCurve:
    name: str
    threshold: float
    discarded: tuple[float, ...]
    """Discarded shares of the genuine pairs, ascending."""
    fnmr: tuple[float, ...]
    """False non-match rate of the remaining pairs."""

    @property
    def largest_rise(self) -> float:
        """The largest rise of the FNMR above an earlier point; 0 if it never rises."""
        lowest, rise = self.fnmr[0], 0.0
        for rate in self.fnmr:
            lowest = min(lowest, rate)
            rise = max(rise, rate - lowest)
        return rise


def discard_curve(name: str, genuine: Numbers, quality: Numbers, threshold: float) -> DiscardCurve:
    """The curve at one threshold. `quality`: the quality score of the poorer picture of each genuine pair."""
    missed = (genuine < threshold)[np.argsort(quality, kind="stable")]
    fnmr = [float(missed[int(share * len(missed)) :].mean()) for share in SHARES]
    return DiscardCurve(name, threshold, SHARES, tuple(fnmr))


def starting_threshold(genuine: Numbers, error: float = STARTING_ERROR) -> float:
    """The threshold at which the given share of the genuine pairs is rejected."""
    ranked = np.sort(genuine)
    return float(ranked[min(len(ranked) - 1, int(np.ceil(error * len(ranked))))])

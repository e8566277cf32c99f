"""Error rates of face comparison: false accepts and false rejects.

Terms as in ISO/IEC 19795-1. FAR is the share of impostor comparisons (two people) whose confidence reaches
the threshold, TAR the share of genuine ones (one person) that do, FRR = 1 − TAR. Comparisons without a face
count as `NO_FACE`, which reaches no threshold, so the FRR includes what ISO counts separately as failures to
acquire.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

NO_FACE = -1.0
"""The confidence of a comparison in which a face was not found; lower than any real confidence."""

CONFIDENCE_LEVEL = 0.95
"""Confidence level of the bounds."""


@dataclass(frozen=True, slots=True)
class Point:
    """Error counts at one threshold."""

    threshold: float
    false_accepts: int
    impostors: int
    false_rejects: int
    genuines: int

    @property
    def far(self) -> float:
        return self.false_accepts / self.impostors if self.impostors else math.nan

    @property
    def frr(self) -> float:
        return self.false_rejects / self.genuines if self.genuines else math.nan

    @property
    def tar(self) -> float:
        return 1 - self.frr

    @property
    def far_bound(self) -> float:
        """Upper bound of the FAR at 95 % confidence, assuming independent comparisons."""
        return upper_bound(self.false_accepts, self.impostors)


@dataclass(frozen=True, slots=True)
class Roc:
    """FAR and TAR at every distinct threshold, highest first. Both are 0 at the first, which is infinite."""

    thresholds: Numbers
    far: Numbers
    tar: Numbers

    @property
    def auc(self) -> float:
        """Area under the curve: the probability that a genuine confidence exceeds an impostor one."""
        return float(np.trapezoid(self.tar, self.far))

    @property
    def eer(self) -> float:
        """Equal error rate: where FAR equals FRR, interpolated linearly between two thresholds."""
        gap = self.far - (1 - self.tar)  # increases from −1 to 1
        after = int(np.argmax(gap >= 0))
        before = after - 1
        share = -gap[before] / (gap[after] - gap[before])
        return float(self.far[before] + share * (self.far[after] - self.far[before]))


def roc(genuine: Numbers, impostor: Numbers) -> Roc:
    """The ROC of these confidences; each array must have at least one."""
    thresholds = np.unique(np.concatenate([genuine, impostor]))[::-1]
    return Roc(
        np.concatenate([[math.inf], thresholds]),
        np.concatenate([[0.0], _share_reaching(impostor, thresholds)]),
        np.concatenate([[0.0], _share_reaching(genuine, thresholds)]),
    )


def at_threshold(genuine: Numbers, impostor: Numbers, threshold: float) -> Point:
    return Point(
        threshold,
        false_accepts=int(np.count_nonzero(impostor >= threshold)),
        impostors=len(impostor),
        false_rejects=int(np.count_nonzero(genuine < threshold)),
        genuines=len(genuine),
    )


def at_far(genuine: Numbers, impostor: Numbers, far: float) -> Point:
    """The lowest threshold at which the FAR does not exceed `far`."""
    highest = np.sort(impostor)[::-1]
    allowed = math.floor(far * len(highest) + 1e-9)
    if allowed >= len(highest):
        return at_threshold(genuine, impostor, 0.0)
    threshold = max(0.0, float(np.nextafter(highest[allowed], math.inf)))
    return at_threshold(genuine, impostor, threshold)


def upper_bound(events: int, trials: int) -> float:
    """Upper bound of a probability at 95 % confidence, from the number of events in a number of trials.

    Clopper and Pearson 1934, doi 10.1093/biomet/26.4.404. Without events about 3 / trials, the rule of three.
    """
    from scipy.stats import beta  # its import takes a second

    if events >= trials:
        return 1.0
    return float(beta.ppf(CONFIDENCE_LEVEL, events + 1, trials - events))


def interval(events: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of a probability (Clopper and Pearson), assuming independent trials."""
    from scipy.stats import beta  # its import takes a second

    tail = (1 - CONFIDENCE_LEVEL) / 2
    low = float(beta.ppf(tail, events, trials - events + 1)) if events else 0.0
    return low, float(beta.ppf(1 - tail, events + 1, trials - events)) if events < trials else 1.0


def can_demonstrate(trials: int, rate: float) -> bool:
    """Whether this number of trials can demonstrate a rate this low (rule of three)."""
    return trials >= 3 / rate


def _share_reaching(confidences: Numbers, thresholds: Numbers) -> Numbers:
    below = np.searchsorted(np.sort(confidences), thresholds, side="left")
    return np.asarray(1 - below / len(confidences), dtype=np.float64)

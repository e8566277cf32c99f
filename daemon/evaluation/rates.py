"""Error rates of a comparison: how often different people pass, and how often the same person does not.

Words as in ISO/IEC 19795-1. FAR is the share of impostor comparisons (two people) whose confidence reaches
the threshold, TAR the share of genuine ones (one person) that do, FRR = 1 − TAR. Here every comparison is
counted, those without a face as `NO_FACE`, which reaches no threshold; so the FRR includes what ISO counts
apart as failures to acquire.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

NO_FACE = -1.0
"""Stands for the confidence of a comparison in which a face was not found: below every real one."""

SURE = 0.95
"""How sure the bounds are."""


@dataclass(frozen=True, slots=True)
class Point:
    """What one threshold gives."""

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
        """The FAR is lower than this, 95 % sure, were the comparisons independent."""
        return upper_bound(self.false_accepts, self.impostors)


@dataclass(frozen=True, slots=True)
class Roc:
    """Every threshold that makes a difference, the highest first; the first one lets nobody pass."""

    thresholds: Numbers
    far: Numbers
    tar: Numbers

    @property
    def auc(self) -> float:
        """Area under TAR over FAR: how probably a genuine confidence is higher than an impostor one."""
        return float(np.trapezoid(self.tar, self.far))

    @property
    def eer(self) -> float:
        """The rate at which FAR and FRR are equal, between two thresholds in a straight line."""
        gap = self.far - (1 - self.tar)  # grows from −1 to 1
        after = int(np.argmax(gap >= 0))
        before = after - 1
        share = -gap[before] / (gap[after] - gap[before])
        return float(self.far[before] + share * (self.far[after] - self.far[before]))


def roc(genuine: Numbers, impostor: Numbers) -> Roc:
    """The curve of these confidences; each kind needs at least one."""
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
    """The lowest threshold at which no larger share of the impostors passes."""
    highest = np.sort(impostor)[::-1]
    allowed = math.floor(far * len(highest) + 1e-9)
    if allowed >= len(highest):
        return at_threshold(genuine, impostor, 0.0)
    threshold = max(0.0, float(np.nextafter(highest[allowed], math.inf)))
    return at_threshold(genuine, impostor, threshold)


def upper_bound(events: int, trials: int) -> float:
    """The probability behind so many events is lower than this, 95 % sure (Clopper and Pearson 1934, doi
    10.1093/biomet/26.4.404). Without events it is 3 / trials, near enough: the rule of three."""
    from scipy.stats import beta  # takes a second to load, which every other command would pay

    if events >= trials:
        return 1.0
    return float(beta.ppf(SURE, events + 1, trials - events))


def carries(trials: int, rate: float) -> bool:
    """Whether so many trials can show a rate this low at all: the rule of three."""
    return trials >= 3 / rate


def _share_reaching(confidences: Numbers, thresholds: Numbers) -> Numbers:
    below = np.searchsorted(np.sort(confidences), thresholds, side="left")
    return np.asarray(1 - below / len(confidences), dtype=np.float64)

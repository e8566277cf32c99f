"""Cross-validated accuracy as in LFW: nine folds give the threshold, the tenth the accuracy.

Huang et al. 2007, "Labeled Faces in the Wild" (UMass Amherst, technical report 07-49), section 4.2.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from daemon.evaluation.rates import Numbers

Booleans = NDArray[np.bool_]
FoldNumbers = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Accuracy:
    """The share of correctly classified pairs and the threshold used, for each fold."""

    folds: tuple[float, ...]
    thresholds: tuple[float, ...]

    @property
    def mean(self) -> float:
        return float(np.mean(self.folds))

    @property
    def standard_error(self) -> float:
        """Standard error of the mean: the folds' sample standard deviation over the root of their number."""
        return float(np.std(self.folds, ddof=1)) / math.sqrt(len(self.folds))


def accuracy(confidences: Numbers, same: Booleans, fold: FoldNumbers) -> Accuracy:
    """Cross-validated accuracy over pairs, given for each: confidence, same person or not, fold number."""
    shares, thresholds = [], []
    for number in np.unique(fold):
        held_out = fold == number
        threshold = best_threshold(confidences[~held_out], same[~held_out])
        right = (confidences[held_out] >= threshold) == same[held_out]
        shares.append(float(right.mean()))
        thresholds.append(threshold)
    return Accuracy(tuple(shares), tuple(thresholds))


def best_threshold(confidences: Numbers, same: Booleans) -> float:
    """The threshold, 0 or more, that classifies most pairs correctly; the middle one of several.

    Candidates lie halfway between neighbouring confidences.
    """
    order = np.argsort(confidences)
    ranked, is_same = confidences[order], same[order]
    steps = np.unique(ranked)
    edges = np.concatenate([[0.0], (steps[1:] + steps[:-1]) / 2, [np.nextafter(steps[-1], math.inf)]])
    edges = np.unique(np.clip(edges, 0.0, None))
    below = np.searchsorted(ranked, edges, side="left")
    genuine_below = np.concatenate([[0], np.cumsum(is_same)])[below]
    right = (is_same.sum() - genuine_below) + (below - genuine_below)
    best = np.flatnonzero(right == right.max())
    return float(edges[best[len(best) // 2]])

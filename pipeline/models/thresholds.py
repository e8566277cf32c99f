"""Confidence thresholds of a model pack, and their measured error rates."""

import math
from dataclasses import dataclass, field
from itertools import pairwise
from types import MappingProxyType

MIN_PERSONS = 40
"""Minimum number of persons for which a threshold is computed. Smaller galleries grow, and visitors of one
site resemble each other more than the people of a measurement."""


@dataclass(frozen=True, slots=True)
class MatchRate:
    """How often two faces reach a confidence, measured on labelled pictures."""

    confidence: float
    false_matches: int
    """Pairs of two people that reach the confidence."""
    impostor_pairs: int
    interval: tuple[float, float]
    """The 95 % interval of the false match rate, from these counts (Clopper and Pearson)."""
    true_match_rate: float
    """Share of the pairs of one person that reach the confidence."""

    @property
    def false_match_rate(self) -> float:
        return self.false_matches / self.impostor_pairs


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Minimum confidences of a match, with their false accept rates."""

    strict: float
    medium: float
    low: float
    false_accept_rates: MappingProxyType[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """By threshold name, in words."""
    measured_on: str = ""
    match_rates: tuple[MatchRate, ...] = ()
    """By rising confidence, at least two, each with false matches. Empty if none were measured."""
    rates_measured_on: str = ""

    def named(self, name: str) -> float:
        """The threshold called strict, medium or low; KeyError for another name."""
        return {"strict": self.strict, "medium": self.medium, "low": self.low}[name]

    def for_gallery(self, persons: int, fpir: float) -> float:
        """The threshold for a search among this number of persons.

        `fpir` is the false positive identification rate (ISO/IEC 19795-1): the probability that a search for
        a stranger returns a person. With independent comparisons, FPIR = 1 − (1 − FMR)^persons. The result is
        at least `low` and at least the threshold for MIN_PERSONS; without measured rates it is `medium`.
        """
        if not self.match_rates:
            return self.medium
        rate = -math.expm1(math.log1p(-fpir) / max(MIN_PERSONS, persons))
        return min(1.0, max(self.low, self.at_false_match_rate(rate)))

    def at_false_match_rate(self, rate: float) -> float:
        """The confidence with this false match rate, interpolated linearly in the rate's logarithm.

        Beyond the measured range, extrapolates with the mean slope of the whole range.
        """
        known = [(-math.log10(one.false_match_rate), one.confidence) for one in self.match_rates]
        wanted = -math.log10(rate)
        (first, start), (last, end) = known[0], known[-1]
        for (left, low), (right, high) in pairwise(known):
            if left <= wanted <= right:
                return low + (high - low) * (wanted - left) / (right - left)
        slope = (end - start) / (last - first)
        return start + slope * (wanted - first) if wanted < first else end + slope * (wanted - last)

"""The threshold of a search: a fixed confidence, or one that depends on the number of persons."""

from dataclasses import dataclass

from pipeline.models.thresholds import Thresholds


@dataclass(frozen=True, slots=True)
class AutoThreshold:
    """Holds a false positive identification rate (FPIR, ISO/IEC 19795-1) as persons are added."""

    thresholds: Thresholds
    """The thresholds of the model pack."""
    fpir: float

    def for_gallery(self, persons: int) -> float:
        """The confidence for a search among this number of persons."""
        return self.thresholds.for_gallery(persons, self.fpir)


Threshold = float | AutoThreshold
"""A confidence, 0 to 1, or the rule that computes it."""

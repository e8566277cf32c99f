"""Rules of recognition: when a face is a known person's, when it creates one, and which faces are
references."""

from dataclasses import dataclass, field
from typing import Self

from store.recognition.visit_evidence import VisitEvidence
from store.settings import PersonsSettings


@dataclass(frozen=True, slots=True)
class ReferenceRules:
    """Which faces become references."""

    max_count: int = 8
    """Maximum number of references of a person in each person gallery."""
    min_score: float = -3.0
    """Minimum quality score."""
    min_shots: int = 2
    """Minimum number of agreeing shots in the mean facen."""

    def accept(self, score: float, shots: int) -> bool:
        """Whether a face with this quality score and number of shots may become a reference."""
        return score >= self.min_score and shots >= self.min_shots


@dataclass(frozen=True, slots=True)
class RecognitionRules:
    """Rules for faces of cameras, in addition to the threshold of a question. Values are confidences, 0 to
    1."""

    band: float = 0.03
    """Width of the range below the threshold in which a poor or barely visible face is ambiguous."""
    obscure_threshold: float = 0.92
    """Minimum threshold if both faces are fully obscure (obscurity 1). Small, blurred and dark faces resemble
    each other: faces of 40 px, blurred by 2 px and darkened to 0.4, have a median confidence of 0.74 (maximum
    0.905) between two persons, and of 0.88 for one person. Compared with a clear face they match no one, so
    the threshold need not rise there."""
    same_visit_confidence: float = 0.65
    """Threshold for the person of the same visit, for whom the track is evidence as well."""
    same_visit_margin: float = 0.1
    """Another person wins over the person of the same visit if the confidence is higher by this."""
    references: ReferenceRules = field(default_factory=ReferenceRules)

    @classmethod
    def from_settings(cls, settings: PersonsSettings) -> Self:
        references = ReferenceRules(settings.references, settings.new_min_score, settings.new_min_shots)
        return cls(band=settings.band, references=references)

    def required_confidence(self, threshold: float, obscurity: float) -> float:
        """The threshold for two faces; `obscurity`, 0 to 1, is that of the clearer one."""
        return threshold + max(0.0, self.obscure_threshold - threshold) * obscurity

    def allows_new_person(self, visit: VisitEvidence) -> bool:
        """Whether a face of this visit may create a person."""
        return self.references.accept(visit.score, visit.shots)

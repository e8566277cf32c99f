"""When a face is a known person's, when it makes a new one, and which faces are kept to compare with."""

from dataclasses import dataclass, field
from typing import Self

from store.recognition.visit_evidence import VisitEvidence
from store.settings import PersonsSettings


@dataclass(frozen=True, slots=True)
class ReferenceRules:
    max_count: int = 8
    """References a person keeps in each person gallery."""
    min_score: float = -3.0
    """The quality score that a reference needs."""
    min_shots: int = 2
    """The number of agreeing shots that a reference's facen is made of."""

    def accept(self, score: float, shots: int) -> bool:
        """Whether a face with these says enough about somebody to be compared with others later."""
        return score >= self.min_score and shots >= self.min_shots


@dataclass(frozen=True, slots=True)
class RecognitionRules:
    """The rules for faces of cameras, beside the threshold that each question brings."""

    band: float = 0.05
    """So far below the threshold a poor look is neither the same person nor another one."""
    obscurity_penalty: float = 0.17
    """The threshold is so much higher where hardly anything is to be seen of both faces. Small, blurred and
    dark faces are alike because of that: of two people, faces of 40 px, blurred by 2 px and darkened to 0.4,
    had a confidence of 0.74 in the middle and 0.905 at most, of one person 0.88 in the middle. (Compared
    with a good face they are like nobody.)"""
    same_visit_confidence: float = 0.65
    """The confidence that is enough within one visit, where the track says the same already …"""
    same_visit_margin: float = 0.1
    """… unless somebody else is more like it by so much."""
    references: ReferenceRules = field(default_factory=ReferenceRules)

    @classmethod
    def from_settings(cls, settings: PersonsSettings) -> Self:
        references = ReferenceRules(settings.references, settings.new_min_score, settings.new_min_shots)
        return cls(band=settings.band, references=references)

    def required_confidence(self, threshold: float, obscurity: float) -> float:
        """The confidence that two faces need, of which the plainer one is so obscure."""
        return threshold + self.obscurity_penalty * obscurity

    def allows_new_person(self, visit: VisitEvidence) -> bool:
        return self.references.accept(visit.score, visit.shots)

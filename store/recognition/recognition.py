"""Recognition decides which person a face belongs to. Cameras and plugins use it through `Persons.identify`.

A face from a picture belongs to the person of the most similar face, and creates a person if none reaches the
threshold. A face of a camera has the evidence of its visit, and creates a person only with a good quality
score and several agreeing shots; otherwise it is stored without a person (`withheld`). If it is neither
clearly a known person nor clearly a new one, it is `ambiguous`. Withheld and ambiguous faces get a person
from a better shot of the same visit, or from a later visit. Two faces in one frame are two persons, so
co-visible persons are excluded.
"""

from dataclasses import dataclass

from store.facens.storage import FacenStorage
from store.mongo.client import Collection
from store.observer import PersonOutcome
from store.recognition.candidates import Candidate, Candidates, CandidateSearch
from store.recognition.question import ROUNDING, Question
from store.recognition.rules import RecognitionRules
from store.recognition.visit_evidence import VisitEvidence


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to a question."""

    outcome: PersonOutcome
    """`created`: the caller has to create a person."""
    persons: tuple[Candidate, ...] = ()
    """The persons found, best first; at most one for each gallery."""
    confidence: float | None = None
    """Confidence of the nearest known person, 0 to 1, also below the threshold; None without one."""
    reason: str = ""
    """Why a face of a camera has no person, in words."""


class Recognition:
    """Answers questions. Persons are created by `PersonResolver`, under locks."""

    def __init__(
        self, faces: Collection, persons: Collection, facens: FacenStorage, rules: RecognitionRules
    ) -> None:
        self._search = CandidateSearch(faces, persons, facens, rules)
        self._rules = rules

    async def verdict(self, question: Question, *, create: bool, provisional: bool = False) -> Verdict:
        """The answer to a question. `provisional`: as in `CandidateSearch.find`."""
        near = await self._search.find(question, provisional=provisional)
        visit = question.visit
        enough = tuple(one for one in near.best if one.is_enough)
        nearest = max((one.confidence for one in near.possible), default=None)
        if visit is None:
            if enough:
                return Verdict("matched", enough, enough[0].confidence)
            return Verdict("created" if create else "withheld", confidence=nearest)
        return self._judge(question, visit, near, enough, create)

    def _judge(
        self,
        question: Question,
        visit: VisitEvidence,
        near: Candidates,
        enough: tuple[Candidate, ...],
        create: bool,
    ) -> Verdict:
        rules, known = self._rules, near.possible
        best = known[0].confidence if known else None
        if near.same_visit is not None:
            own = near.confidence_of(near.same_visit)
            if own >= max(rules.same_visit_confidence, (best or 0.0) - rules.same_visit_margin):
                same = Candidate(near.same_visit, own, rules.same_visit_confidence)
                others = tuple(one for one in enough if one.person_id != same.person_id)
                return Verdict("matched", (same, *others), own)
        if known and known[0].is_enough:
            return Verdict("matched", enough, best)
        co_visible = next((one for one in near.co_visible if one.is_enough), None)
        if co_visible is not None:
            # Similar to a person in the same frame: a mirror, a poster, a twin.
            return Verdict("ambiguous", confidence=best, reason=_resembles(co_visible, "in the same frame"))
        # Not only the best candidate, whose face may be clear and so need less confidence.
        near_miss = question.threshold - rules.band - ROUNDING
        unsure = next((one for one in known if one.confidence >= near_miss), None)
        good = rules.allows_new_person(visit)
        if create and good and (visit.obscurity == 0 or unsure is None):
            return Verdict("created", confidence=best)
        poor = "obscure" if good else _poor(rules, visit)
        if unsure is not None:
            return Verdict("ambiguous", confidence=best, reason=_resembles(unsure, poor))
        return Verdict("withheld", confidence=best, reason=poor)


def _resembles(person: Candidate, more: str) -> str:
    """The reason, with the confidence and the required one if it is lower. `more`: the rest of the reason."""
    if person.is_enough:
        return f"like person {person.person_id}, {more}"
    return f"like person {person.person_id} ({person.confidence:.2f} of {person.required:.2f}), {more}"


def _poor(rules: RecognitionRules, visit: VisitEvidence) -> str:
    """Why a face of this visit cannot create a person."""
    if visit.shots < rules.references.min_shots:
        return f"{visit.shots} good {'shot' if visit.shots == 1 else 'shots'}"
    return f"quality {visit.score:.1f}"

"""Whose face is this? The one way to a person, for cameras and plugins alike, behind `Persons.identify`.

A face from a picture belongs to the person with the most alike face, and makes a new person where nobody
reaches the threshold. A face of a camera carries the evidence of its visit, and making a person of it
needs more: a good look and several agreeing shots. Without these it is stored without a person
(`withheld`); where it is neither surely the same nor surely another it is `ambiguous`. Both get their
person when a better shot of the same visit, or a later visit, says who it was. Two people in one frame are
two: a co-visible person is passed over.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pipeline.faces.facen import FacenError, confidence, decode
from store.facens.storage import FacenStorage
from store.mongo.client import Collection
from store.observer import PersonOutcome
from store.recognition.nearest import nearest
from store.recognition.question import ROUNDING, Question
from store.recognition.rules import RecognitionRules
from store.recognition.visit_evidence import VisitEvidence, obscurity
from store.settings import ENROLLED_GALLERY, is_person_gallery, reference_gallery

FIRST_FACES = 8
"""Nearly every face of a person gallery has a person, so the first few decide."""
FIRST_REFERENCES = 32
"""Faces asked for at first among references: those of the nearest few persons."""
MIN_CONFIDENCE = 0.6
"""Confidence below which nobody is worth knowing about; two strangers have 0.55 on average."""

WITH_PERSON: dict[str, Any] = {"person_id": {"$type": ["int", "long"]}}


class Candidate(NamedTuple):
    """A person it may be."""

    person_id: int
    confidence: float
    required: float
    """The confidence that makes it that person."""

    @property
    def is_enough(self) -> bool:
        return self.confidence >= self.required


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whose face it is."""

    outcome: PersonOutcome
    """`created` where a new person is to be made."""
    persons: tuple[Candidate, ...] = ()
    """The persons found, the surest first; one for each gallery at most."""
    confidence: float | None = None
    """How alike the nearest known person is, 0 to 1, enough or not; None where nobody is near."""


@dataclass(frozen=True, slots=True)
class _Neighbourhood:
    """Who is near, and who was seen beside."""

    candidates: Sequence[Candidate]
    """Persons it may be, the surest first."""
    best: Sequence[Candidate]
    """The surest one of each gallery."""
    co_visible: Sequence[Candidate]
    """Persons it cannot be, since they were visible at the same time."""
    same_visit: int | None
    """Whose the other faces of this visit are."""

    def confidence_of(self, person_id: int) -> float:
        return next((one.confidence for one in self.candidates if one.person_id == person_id), 0.0)


class Recognition:
    """Answers questions. It makes nobody: `Persons` does, under its locks."""

    def __init__(
        self, faces: Collection, persons: Collection, facens: FacenStorage, rules: RecognitionRules
    ) -> None:
        self._faces = faces
        self._persons = persons
        self._facens = facens
        self._rules = rules

    async def verdict(self, question: Question, *, create: bool, provisional: bool = False) -> Verdict:
        """`provisional`: also asks those made a moment ago whose first face may not be stored yet."""
        near = await self._neighbourhood(question, provisional)
        visit = question.visit
        enough = tuple(one for one in near.best if one.is_enough)
        nearest_one = max((one.confidence for one in near.candidates), default=None)
        if visit is None:
            if enough:
                return Verdict("matched", enough, enough[0].confidence)
            return Verdict("created" if create else "withheld", confidence=nearest_one)
        return self._judge(question, visit, near, enough, create)

    def _judge(
        self,
        question: Question,
        visit: VisitEvidence,
        near: _Neighbourhood,
        enough: tuple[Candidate, ...],
        create: bool,
    ) -> Verdict:
        rules, known = self._rules, near.candidates
        best = known[0].confidence if known else None
        if near.same_visit is not None:
            own = near.confidence_of(near.same_visit)
            if own >= max(rules.same_visit_confidence, (best or 0.0) - rules.same_visit_margin):
                same = Candidate(near.same_visit, own, rules.same_visit_confidence)
                others = tuple(one for one in enough if one.person_id != same.person_id)
                return Verdict("matched", (same, *others), own)
        if known and known[0].is_enough:
            return Verdict("matched", enough, best)
        if any(one.is_enough for one in near.co_visible):
            # Like somebody who stood beside them: a mirror, a picture of them, a twin.
            return Verdict("ambiguous", confidence=best)
        # Not the surest alone: that may be one whose threshold is lower, since their face is plain to see.
        unsure = any(one.confidence >= question.threshold - rules.band for one in known)
        clear = visit.obscurity == 0 or not unsure
        if create and clear and rules.allows_new_person(visit):
            return Verdict("created", confidence=best)
        return Verdict("ambiguous" if unsure else "withheld", confidence=best)

    async def _neighbourhood(self, question: Question, provisional: bool) -> _Neighbourhood:
        visit = question.visit
        same = await self._persons_of_visits(question, [visit.visit_id]) if visit else []
        others = set(await self._persons_of_visits(question, visit.co_visible)) if visit else set()
        others -= set(same)
        found = await self._search(question, others)
        if provisional:
            found.append([one for one in await self._provisional(question) if one.person_id not in others])
        ranked = _best_of_each(one for group in found for one in group)
        groups = ([one for one in group if one.person_id not in others] for group in found)
        return _Neighbourhood(
            [one for one in ranked if one.person_id not in others],
            _best_of_each(group[0] for group in groups if group),
            [one for one in ranked if one.person_id in others],
            same[0] if same else None,
        )

    async def _search(self, question: Question, others: set[int]) -> list[list[Candidate]]:
        """The nearest persons, gallery by gallery, the surest first in each."""
        if question.visit is None or question.query:
            return [await self._nearest_persons(question, gallery, others) for gallery in question.galleries]
        found = []
        if any(is_person_gallery(gallery) for gallery in question.galleries):
            found.append(await self._nearest_persons(question, ENROLLED_GALLERY, others, FIRST_REFERENCES))
        if not _is_known(found, others):
            found += [await self._in_gallery(question, gallery, others) for gallery in question.galleries]
        return found

    async def _in_gallery(self, question: Question, gallery: str, others: set[int]) -> list[Candidate]:
        if not is_person_gallery(gallery):
            return await self._nearest_persons(question, gallery, others, FIRST_REFERENCES)
        references = reference_gallery(gallery)
        known = await self._nearest_persons(question, references, others, FIRST_REFERENCES)
        if not _is_known([known], others):
            known = _best_of_each([*known, *await self._without_references(question, gallery)])
        return known

    async def _nearest_persons(
        self, question: Question, gallery: str, excluded: set[int], first: int = FIRST_FACES
    ) -> list[Candidate]:
        """The nearest persons of a gallery, each once, the surest first.

        At least one that is not to be passed over, if there is one.
        """
        least = 0.0 if question.visit is None else min(MIN_CONFIDENCE, question.threshold)
        query = {"$and": [question.query, WITH_PERSON]} if question.query else {}
        limit = first
        while True:
            where = (self._faces, self._facens, question.owner, [gallery])
            found = await nearest(
                *where, question.facen, limit, least, query, max_time_ms=question.max_time_ms
            )
            people = _best_of_each(
                self._candidate(question, other["person_id"], sure, obscurity(other))
                for other, sure in found.faces
                if isinstance(other.get("person_id"), int) and not isinstance(other["person_id"], bool)
            )
            if not found.more or not found.faces or any(one.person_id not in excluded for one in people):
                return people
            if question.visit is None and found.faces[-1][1] < question.threshold - ROUNDING:
                return people
            limit *= 4

    async def _without_references(self, question: Question, gallery: str) -> list[Candidate]:
        """The nearest persons who have no references: made by a plugin, or by an earlier version.

        All their faces are compared.
        """
        bare = []
        for one in await self._nearest_persons(question, gallery, set(), FIRST_REFERENCES):
            reference = {
                "owner": question.owner,
                "person_id": one.person_id,
                "gallery": reference_gallery(gallery),
            }
            if await self._faces.find_one(reference, {"_id": 1}) is None:
                bare.append(one)
        return bare

    async def _persons_of_visits(self, question: Question, visits: Sequence[str]) -> list[int]:
        """Who, as far as is known, these visits at the same camera were of."""
        if question.visit is None or not visits:
            return []
        query = {
            "owner": question.owner,
            "detector_info.visit_id": {"$in": list(visits)},
            "cam_id": question.visit.cam_id,
            "person_id": {"$ne": None},
        }
        if question.face_id is not None:
            query["_id"] = {"$ne": question.face_id}
        found = self._faces.find(query, {"person_id": 1}, sort=[("_id", 1)])
        return list(dict.fromkeys([one["person_id"] async for one in found]))

    async def _provisional(self, question: Question) -> list[Candidate]:
        """Those made a moment ago by a question like this one."""
        visit = question.visit
        found = []
        for gallery in question.galleries:
            async for person in self._persons.find(
                question.provisional_query(gallery), {"founding.facen": 1}
            ):
                try:
                    other = decode(person["founding"]["facen"])
                except FacenError:
                    continue
                if len(other) == len(question.facen):
                    sure = min(1.0, max(0.0, confidence(float(other @ question.facen))))
                    # Of their founding face only the facen is known: it may be as obscure as this one.
                    own = visit.obscurity if visit else 0.0
                    if visit is None or sure >= MIN_CONFIDENCE:
                        found.append(self._candidate(question, person["_id"], sure, own))
        return _best_of_each(found)

    def _candidate(self, question: Question, person_id: int, sure: float, other: float) -> Candidate:
        """`other`: the obscurity of the person's face."""
        hidden = min(question.visit.obscurity, other) if question.visit else 0.0
        return Candidate(
            person_id, sure, self._rules.required_confidence(question.threshold, hidden) - ROUNDING
        )


def _is_known(found: Iterable[Sequence[Candidate]], others: set[int]) -> bool:
    return any(one.is_enough and one.person_id not in others for group in found for one in group)


def _best_of_each(found: Iterable[Candidate]) -> list[Candidate]:
    best: dict[int, Candidate] = {}
    for one in sorted(found, key=lambda one: (one.required - one.confidence, one.person_id)):
        best.setdefault(one.person_id, one)
    return list(best.values())

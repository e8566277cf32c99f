"""The persons that a face may belong to: the nearest ones, and those of visits at the same time.

For a face of a camera, a search of a person gallery covers the enrolled people, then the references of its
persons, then persons without references. Any other gallery is searched directly.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pipeline.faces.facen import FacenError, confidence, decode
from store.facens.storage import FacenStorage
from store.mongo.client import Collection
from store.mongo.shapes import PROVISIONAL
from store.recognition.agreement import Scored, agreed_confidence, two_nearest
from store.recognition.nearest import nearest
from store.recognition.question import ROUNDING, Question
from store.recognition.rules import RecognitionRules
from store.recognition.visit_evidence import obscurity
from store.settings import ENROLLED_GALLERY, is_person_gallery, reference_gallery

FIRST_FACES = 8
"""Number of faces in the first search of a person gallery, where nearly every face has a person."""
FIRST_REFERENCES = 32
"""Number of faces in the first search among references, which covers the nearest few persons."""
MIN_CONFIDENCE = 0.6
"""Confidence below which candidates are ignored; two strangers have 0.55 on average."""

WITH_PERSON: dict[str, Any] = {"person_id": {"$type": ["int", "long"]}}


class Candidate(NamedTuple):
    """A person that the face may belong to."""

    person_id: int
    confidence: float
    required: float
    """Minimum confidence for a match with this person."""
    agreed: float = 0.0
    """Confidence with the mean of the person's two nearest references; 0 without agreement."""
    second: float = 0.0
    """Confidence of the second of these references."""

    @property
    def is_enough(self) -> bool:
        return self.confidence >= self.required


@dataclass(frozen=True, slots=True)
class Candidates:
    """Persons that resemble the face, grouped by the evidence of its visit."""

    possible: Sequence[Candidate]
    """Persons that the face may belong to, best first."""
    best: Sequence[Candidate]
    """The best candidate of each gallery."""
    co_visible: Sequence[Candidate]
    """Persons that were visible at the same time, and therefore are different persons."""
    same_visit: int | None
    """The person of the other faces of this visit."""

    def confidence_of(self, person_id: int) -> float:
        return next((one.confidence for one in self.possible if one.person_id == person_id), 0.0)


class CandidateSearch:
    """Finds the candidates for a question, in the facen storage and in MongoDB."""

    def __init__(
        self, faces: Collection, persons: Collection, facens: FacenStorage, rules: RecognitionRules
    ) -> None:
        self._faces = faces
        self._persons = persons
        self._facens = facens
        self._rules = rules

    async def find(self, question: Question, *, provisional: bool) -> Candidates:
        """The candidates for a question.

        Args:
            provisional: include persons created within PROVISIONAL_PERIOD, whose first face may not be
                stored.
        """
        visit = question.visit
        same = await self._persons_of_visits(question, [visit.visit_id]) if visit else []
        excluded = set(await self._persons_of_visits(question, visit.co_visible)) if visit else set()
        excluded -= set(same)
        found = await self._search(question, excluded)
        if provisional:
            found.append([one for one in await self._provisional(question) if one.person_id not in excluded])
        if visit is not None:
            found = _raise_agreed(found, excluded)
        ranked = _best_of_each(one for group in found for one in group)
        groups = ([one for one in group if one.person_id not in excluded] for group in found)
        return Candidates(
            [one for one in ranked if one.person_id not in excluded],
            _best_of_each(group[0] for group in groups if group),
            [one for one in ranked if one.person_id in excluded],
            same[0] if same else None,
        )

    async def _search(self, question: Question, excluded: set[int]) -> list[list[Candidate]]:
        """The nearest persons of each gallery, best first."""
        if question.visit is None or question.query:
            return [
                await self._nearest_persons(question, gallery, excluded) for gallery in question.galleries
            ]
        found = []
        if any(is_person_gallery(gallery) for gallery in question.galleries):
            found.append(await self._nearest_persons(question, ENROLLED_GALLERY, excluded, FIRST_REFERENCES))
        if not _is_known(found, excluded):
            found += [await self._in_gallery(question, gallery, excluded) for gallery in question.galleries]
        return found

    async def _in_gallery(self, question: Question, gallery: str, excluded: set[int]) -> list[Candidate]:
        if not is_person_gallery(gallery):
            return await self._nearest_persons(question, gallery, excluded, FIRST_REFERENCES)
        references = reference_gallery(gallery)
        known = await self._nearest_persons(question, references, excluded, FIRST_REFERENCES)
        if not _is_known([known], excluded):
            known = _best_of_each([*known, *await self._without_references(question, gallery)])
        return known

    async def _nearest_persons(
        self, question: Question, gallery: str, excluded: set[int], first: int = FIRST_FACES
    ) -> list[Candidate]:
        """The nearest persons of a gallery, best first. Extends the search until one is not excluded."""
        least = 0.0 if question.visit is None else min(MIN_CONFIDENCE, question.threshold)
        query = {"$and": [question.query, WITH_PERSON]} if question.query else {}
        limit = first
        while True:
            where = (self._faces, self._facens, question.owner, [gallery])
            found = await nearest(
                *where, question.facen, limit, least, query, max_time_ms=question.max_time_ms
            )
            people = self._by_person(question, found.faces)
            if not found.more or not found.faces or any(one.person_id not in excluded for one in people):
                return people
            if question.visit is None and found.faces[-1][1] < question.threshold - ROUNDING:
                return people
            limit *= 4

    def _by_person(self, question: Question, faces: Sequence[Scored]) -> list[Candidate]:
        """The persons of these faces, each once, best first."""
        by_person: dict[int, list[Scored]] = defaultdict(list)
        for face, match_confidence in faces:
            person_id = face.get("person_id")
            if isinstance(person_id, int) and not isinstance(person_id, bool):
                by_person[person_id].append((face, match_confidence))
        return _best_of_each(self._person(question, *theirs) for theirs in by_person.items())

    def _person(self, question: Question, person_id: int, faces: Sequence[Scored]) -> Candidate:
        (best,) = _best_of_each(
            self._candidate(question, person_id, match_confidence, obscurity(face))
            for face, match_confidence in faces
        )
        if question.visit is None or best.is_enough or len(pair := two_nearest(faces)) < 2:
            return best
        required = max(
            self._candidate(question, person_id, match_confidence, obscurity(face)).required
            for face, match_confidence in pair
        )
        agreed = agreed_confidence(question.facen, pair)
        return best._replace(agreed=agreed if agreed >= required else 0.0, second=pair[1][1])

    async def _without_references(self, question: Question, gallery: str) -> list[Candidate]:
        """The nearest persons without references, whom a plugin or an earlier version created.

        Compares all faces in the gallery.
        """
        without = []
        for one in await self._nearest_persons(question, gallery, set(), FIRST_REFERENCES):
            reference = {
                "owner": question.owner,
                "person_id": one.person_id,
                "gallery": reference_gallery(gallery),
            }
            if await self._faces.find_one(reference, {"_id": 1}) is None:
                without.append(one)
        return without

    async def _persons_of_visits(self, question: Question, visits: Sequence[str]) -> list[int]:
        """The known persons of these visits at the same camera."""
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
        """The persons created within PROVISIONAL_PERIOD for a question like this one."""
        visit = question.visit
        found = []
        for gallery in question.galleries:
            async for person in self._persons.find(
                question.provisional_query(gallery), {f"{PROVISIONAL}.facen": 1}
            ):
                try:
                    other = decode(person[PROVISIONAL]["facen"])
                except FacenError:
                    continue
                if len(other) == len(question.facen):
                    match_confidence = min(1.0, max(0.0, confidence(float(other @ question.facen))))
                    # Only the facen of the first face is known, which may be as obscure as this one.
                    own = visit.obscurity if visit else 0.0
                    if visit is None or match_confidence >= MIN_CONFIDENCE:
                        found.append(self._candidate(question, person["_id"], match_confidence, own))
        return _best_of_each(found)

    def _candidate(
        self, question: Question, person_id: int, match_confidence: float, other: float
    ) -> Candidate:
        """`other`: the obscurity of the person's face."""
        hidden = min(question.visit.obscurity, other) if question.visit else 0.0
        return Candidate(
            person_id,
            match_confidence,
            self._rules.required_confidence(question.threshold, hidden) - ROUNDING,
        )


def _raise_agreed(found: list[list[Candidate]], excluded: set[int]) -> list[list[Candidate]]:
    """Raise the confidence of the person whose references agree, unless another person is as near."""
    people = _best_of_each(one for group in found for one in group if one.person_id not in excluded)
    agreed = max(people, key=lambda one: one.agreed, default=None)
    if agreed is None or not agreed.agreed or people[0].is_enough:
        return found
    if any(one.confidence >= agreed.second for one in people if one.person_id != agreed.person_id):
        return found
    raised = agreed._replace(confidence=agreed.agreed, required=min(agreed.required, agreed.agreed))
    return [
        _best_of_each(raised if one.person_id == agreed.person_id else one for one in group)
        for group in found
    ]


def _is_known(found: Iterable[Sequence[Candidate]], excluded: set[int]) -> bool:
    return any(one.is_enough and one.person_id not in excluded for group in found for one in group)


def _best_of_each(found: Iterable[Candidate]) -> list[Candidate]:
    best: dict[int, Candidate] = {}
    for one in sorted(found, key=lambda one: (one.required - one.confidence, one.person_id)):
        best.setdefault(one.person_id, one)
    return list(best.values())

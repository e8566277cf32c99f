"""Whose face a sighting shows: who is known, who is new, and who must wait for a better look.

Making a person needs more than recognising one: a good picture and several agreeing shots. A face that is
less is stored without a person (`withheld`), one that is neither surely the same nor surely another is
`ambiguous`; both get their person when a better shot of the same visit, or a later visit, says who it was.
Two people in one frame are two: nobody is recognised as somebody who was visible beside them.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeGuard

from store.context import Context
from store.face import Face, beside, facen_of, visit_of
from store.guard import checked_threshold
from store.nearest import nearest
from store.observer import PersonOutcome
from store.person_search import SLACK, PersonSearch, Question
from store.persons import Persons
from store.references import References
from store.settings import ENROLLED_GALLERY, reference_gallery
from store.users import UserArgument

FIRST_LOOK = 32
"""Faces asked for at first: the references of the nearest few persons."""
PLAIN, HIDDEN = 1.2, 2.2
"""What size, sharpness and exposure take from the quality score of a face that is plain to see, and of one of
which hardly anything is: 40 px high, blurred by 2 px and dark."""
QUALITY_PARTS = ("size", "sharpness", "exposure")
FARTHEST = 0.6
"""Confidence below which nobody is worth knowing about; two strangers have 0.55 on average."""


@dataclass(frozen=True, slots=True)
class RecognitionRules:
    threshold: float
    """The confidence, 0 to 1, from which a face is a known person's."""
    band: float = 0.05
    """So far below the threshold a poor look is neither the same person nor another one."""
    obscure: float = 0.17
    """The threshold is so much higher where hardly anything is to be seen of both faces. Small, blurred and
    dark faces are alike because of that: of two people, faces of 40 px, blurred by 2 px and darkened to 0.4,
    had a confidence of 0.74 in the middle and 0.905 at most, of one person 0.88 in the middle. (Compared
    with a good face they are like nobody.)"""
    together: float = 0.65
    """The confidence that is enough within one visit, where the track says the same already …"""
    doubt: float = 0.1
    """… unless somebody else is more like it by so much."""

    def __post_init__(self) -> None:
        checked_threshold(self.threshold)


class Verdict(NamedTuple):
    person_id: int | None
    outcome: PersonOutcome
    confidence: float | None
    """How alike the nearest known person is, 0 to 1, enough or not; None where nobody is near."""


class Recognition:
    """Recognises the visitors of one user's cameras."""

    def __init__(
        self, ctx: Context, user: UserArgument, rules: RecognitionRules, references: References
    ) -> None:
        self._ctx = ctx
        self._user = user
        self._rules = rules
        self._references = references
        self._faces = ctx.database["faces"]
        self._search = PersonSearch(self._faces, ctx.database[Persons.name], ctx.facens)

    async def whose(self, face: Face, gallery: str, *, create: bool = True) -> Verdict:
        """The verdict about a face with a facen, a quality score and the details of its visit.

        With `create` it may make a person; a `sighting_id` that one was made for gets that person again.
        """
        owner = await self._ctx.users.owner(self._user)
        sighting = face.get("sighting_id") if create else None
        if sighting is not None:
            made = await self._ctx.persons.find_one(owner, {"sighting_id": sighting})
            if made is not None:
                return Verdict(made["_id"], "created", None)
        facen = facen_of(face, self._ctx.faces.facen_size)
        question = Question(owner, (gallery,), facen, self._rules.threshold, {})
        async with self._ctx.persons.measured("identify"):
            evidence = await self._evidence(question, face)
        verdict = self._judge(evidence, face, create=create)
        if verdict.outcome != "created":
            return verdict
        return await self._make(question, face, sighting)

    async def _make(self, question: Question, face: Face, sighting: str | None) -> Verdict:
        """Alone among all who make persons: looks again, and makes one."""
        async with self._ctx.persons.alone(question.owner, question.galleries):
            await self._ctx.faces.catch_up(question.owner, reference_gallery(question.galleries[0]))
            async with self._ctx.persons.measured("identify_again"):
                evidence = await self._evidence(question, face)
                founders = await self._search.founders(question)
            evidence = evidence.with_more(
                # Of their founding face only the facen is known here: it may be as hidden as this one.
                self._near(one.person_id, one.confidence, face, face)
                for one in founders
                if one.confidence >= FARTHEST
            )
            verdict = self._judge(evidence, face, create=True)
            if verdict.outcome != "created":
                return verdict
            made = await self._ctx.persons.found(question, sighting)
            return Verdict(made["_id"], "created", verdict.confidence)

    def _judge(self, evidence: "Evidence", face: Face, *, create: bool) -> Verdict:
        rules, known = self._rules, evidence.near
        best = known[0] if known else None
        confidence = best.confidence if best else None
        if evidence.same_visit is not None:
            own = evidence.likeness(evidence.same_visit)
            if own >= max(rules.together, (confidence or 0.0) - rules.doubt):
                return Verdict(evidence.same_visit, "matched", own)
        if best is not None and best.is_enough:
            return Verdict(best.person_id, "matched", confidence)
        if any(one.is_enough for one in evidence.beside):
            # Like somebody who stood beside them: a mirror, a picture of them, a twin.
            return Verdict(None, "ambiguous", confidence)
        # Not the surest alone: that may be one whose threshold is lower, since their face is plain to see.
        unsure = any(one.confidence >= rules.threshold - rules.band for one in known)
        clear = obscurity(face) == 0 or not unsure
        if create and clear and self._references.is_good(face):
            return Verdict(None, "created", confidence)
        return Verdict(None, "ambiguous" if unsure else "withheld", confidence)

    def _near(self, person_id: int, confidence: float, face: Face, other: Mapping[str, Any]) -> "Near":
        hidden = min(obscurity(face), obscurity(other))
        return Near(person_id, confidence, self._rules.threshold + self._rules.obscure * hidden - SLACK)

    async def _evidence(self, question: Question, face: Face) -> "Evidence":
        visit, seen_beside = visit_of(face), beside(face)
        same = await self._persons_of(question, face, [visit]) if visit else []
        others = set(await self._persons_of(question, face, seen_beside)) if seen_beside else set()
        others -= set(same)
        known = await self._people(question, face, ENROLLED_GALLERY, others)
        if not any(one.is_enough and one.person_id not in others for one in known):
            (gallery,) = question.galleries
            known += await self._people(question, face, reference_gallery(gallery), others)
            if not any(one.is_enough and one.person_id not in others for one in known):
                known += await self._without_references(question, face, gallery)
        near = _best_of_each(known)
        return Evidence(
            [one for one in near if one.person_id not in others],
            [one for one in near if one.person_id in others],
            same[0] if same else None,
        )

    async def _persons_of(self, question: Question, face: Face, visits: list[str]) -> list[int]:
        """Who, as far as is known, these visits at the same camera were of."""
        query = {
            "owner": question.owner,
            "detector_info.visit_id": {"$in": visits},
            "cam_id": face.get("cam_id"),
            "person_id": {"$ne": None},
        }
        if "_id" in face:
            query["_id"] = {"$ne": face["_id"]}
        found = self._faces.find(query, {"person_id": 1}, sort=[("_id", 1)])
        return list(dict.fromkeys([one["person_id"] async for one in found]))

    async def _people(
        self, question: Question, face: Face, gallery: str, passed_over: set[int]
    ) -> list["Near"]:
        """The nearest persons of a gallery, each once, the surest first.

        At least one that is not to be passed over, if there is one.
        """
        limit = FIRST_LOOK
        while True:
            found = await nearest(
                self._faces, self._ctx.facens, question.owner, [gallery], question.facen, limit, FARTHEST, {}
            )
            people = _best_of_each(
                self._near(other["person_id"], sure, face, other)
                for other, sure in found.faces
                if isinstance(other.get("person_id"), int) and not isinstance(other["person_id"], bool)
            )
            if not found.more or any(one.person_id not in passed_over for one in people):
                return people
            limit *= 4

    async def _without_references(self, question: Question, face: Face, gallery: str) -> list["Near"]:
        """The nearest persons who have no references: made by a plugin, or by an earlier version.

        All their faces are compared.
        """
        bare = []
        for one in await self._people(question, face, gallery, set()):
            query = {"person_id": one.person_id, "gallery": reference_gallery(gallery)}
            if not await self._ctx.faces.count(question.owner, query, limit=1):
                bare.append(one)
        return bare


class Near(NamedTuple):
    """A person it may be."""

    person_id: int
    confidence: float
    needed: float
    """The confidence that makes it that person."""

    @property
    def is_enough(self) -> bool:
        return self.confidence >= self.needed


@dataclass(frozen=True, slots=True)
class Evidence:
    """Who is near, and what the camera saw beside."""

    near: Sequence[Near]
    """Persons it may be, the surest first."""
    beside: Sequence[Near]
    """Persons it cannot be, since they were visible at the same time."""
    same_visit: int | None
    """Whose the other faces of this visit are."""

    def likeness(self, person_id: int) -> float:
        return next((one.confidence for one in self.near if one.person_id == person_id), 0.0)

    def with_more(self, found: Iterable[Near]) -> "Evidence":
        """The same, and persons who were made a moment ago."""
        others = {one.person_id for one in self.beside}
        more = [one for one in found if one.person_id not in others]
        return Evidence(_best_of_each([*self.near, *more]), self.beside, self.same_visit)


def _best_of_each(found: Iterable[Near]) -> list[Near]:
    best: dict[int, Near] = {}
    for one in sorted(found, key=lambda one: (one.needed - one.confidence, one.person_id)):
        best.setdefault(one.person_id, one)
    return list(best.values())


def obscurity(face: Mapping[str, Any]) -> float:
    """How little there is to be seen of a stored face, 0 to 1; 0 where that was not measured."""
    parts = (face.get("detector_info") or {}).get("quality")
    if not isinstance(parts, Mapping):
        return 0.0
    taken = [-part for name in QUALITY_PARTS if _is_number(part := parts.get(name))]
    return min(1.0, max(0.0, (float(sum(taken)) - PLAIN) / (HIDDEN - PLAIN)))


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)

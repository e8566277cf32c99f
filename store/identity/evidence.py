"""Finds duplicate persons, and persons that consist of several people, by all their visits.

Many visits are more reliable than single faces. Each visit counts as one facen, the mean of its good faces.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from statistics import median
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from pipeline.faces.facen import confidence, normalise
from store.collections.persons import Person
from store.collections.users import UserArgument
from store.context import Context
from store.errors import BadValueError
from store.face import Face
from store.face_fields import co_visible_visits, facen_of, usable_facen, visit_of
from store.identity.change_log import CHANGES, Change
from store.identity.changes import PersonChanges
from store.identity.neighbours import neighbours
from store.identity.references import References
from store.mongo.client import Collection
from store.mongo.driver_errors import DRIVER_ERRORS, translate_error
from store.recognition.rules import ReferenceRules
from store.settings import CAMERA_REFERENCES, ENROLLED_GALLERY, REFERENCES

log = structlog.get_logger()

PROPOSALS = "person_proposals"
MAX_FACES = 300
"""Maximum number of a person's faces that are compared, the latest first."""
MIN_PAIRS = 3
"""Minimum number of pairs of visits, one of each person, for a proposal."""


@dataclass(frozen=True, slots=True)
class EvidenceRules:
    threshold: float
    """Minimum confidence of a match."""
    strong: float
    """Minimum median confidence of the pairs of visits of a proposal."""
    band: float = 0.05
    """Tolerance below the threshold: a pair of visits with less contradicts a merge, and `partition`
    separates visits with less."""
    certain: float | None = None
    """Minimum median confidence of an automatic merge. Default: `strong`."""

    def is_overwhelming(self, proposal: "Proposal") -> bool:
        """Whether the persons may be merged automatically: no pair of visits contradicts it."""
        certain = self.strong if self.certain is None else self.certain
        return proposal.confidence >= certain and proposal.lowest >= self.threshold


@dataclass(frozen=True, slots=True)
class Proposal:
    """Two persons that are probably the same human being."""

    person: int
    """The person that would be kept: the named one, otherwise the older one."""
    other: int
    visits: int
    other_visits: int
    confidence: float
    """Median over all pairs of visits."""
    lowest: float


@dataclass(slots=True)
class _Visits:
    """A person's visits: ids, one facen each, and co-visible visits."""

    ids: list[str]
    facens: NDArray[np.float32]
    co_visible: set[str]
    faces: list[list[int]]
    name: str | None
    enrolled: bool


class PersonEvidence:
    """Compares the persons of one user."""

    def __init__(
        self, ctx: Context, user: UserArgument, rules: EvidenceRules, references: ReferenceRules
    ) -> None:
        self._ctx = ctx
        self._user = user
        self._rules = rules
        self._reference_rules = references
        self._references = References(ctx, user, references)
        self._proposals: Collection = ctx.database[PROPOSALS]

    async def run_nightly(self, mode: str) -> list[Proposal] | list[Change]:
        """Compare all persons and store proposals. With the mode `make`, merge those with overwhelming
        evidence, the most similar first, and return the merges."""
        changes = PersonChanges(self._ctx, self._user, self._reference_rules, by="night")
        await changes.resume()
        found = [proposal async for proposal in self.find_proposals()]
        if mode != "make":
            await self._store(found)
            return found
        merges, changed = [], set[int]()
        for proposal in sorted(filter(self._rules.is_overwhelming, found), key=lambda one: -one.confidence):
            if not changed & {proposal.person, proposal.other}:  # changed persons are compared the next night
                merges.append(await changes.merge(proposal.person, proposal.other))
                changed |= {proposal.person, proposal.other}
        await self._store([one for one in found if not changed & {one.person, one.other}])
        return merges

    async def proposals(self) -> list[Proposal]:
        """The proposals of the last night whose persons still exist and are not marked as distinct."""
        owner = await self._ctx.users.owner(self._user)
        try:
            kept = await self._proposals.find({"owner": owner}).sort("_id", 1).to_list(None)
        except DRIVER_ERRORS as error:
            raise translate_error(error, "person_proposals.find") from error
        distinct = await distinct_pairs(self._ctx, self._user)
        found = []
        for one in kept:
            if frozenset((one["person"], one["other"])) in distinct:
                continue
            both = {"_id": {"$in": [one["person"], one["other"]]}}
            if await self._ctx.persons.count(owner, both) == 2:
                found.append(Proposal(**{name: one[name] for name in Proposal.__slots__}))
        return found

    async def find_proposals(self) -> AsyncIterator[Proposal]:
        """Pairs of persons whose visits match and that are not marked as distinct."""
        distinct = await distinct_pairs(self._ctx, self._user)
        for one, other in sorted(await self._neighbours()):
            if frozenset((one, other)) in distinct:
                continue
            proposal = await self._compare(one, other)
            if proposal is not None:
                yield proposal

    async def partition(self, person_id: int) -> list[list[int]]:
        """Cluster the person's visits; returns the faces of each cluster except the largest.

        Raises:
            BadValueError: all visits form one cluster.
        """
        # Imported here, because it would slow down each start of the daemon.
        from scipy.cluster.hierarchy import fcluster, linkage
        from scipy.spatial.distance import squareform

        visits = await self._visits(person_id)
        groups: dict[int, list[int]] = defaultdict(list)
        if len(visits.ids) > 1:
            apart = 1 - np.asarray(confidence((visits.facens @ visits.facens.T).astype(np.float32)))
            np.fill_diagonal(apart, 0)
            tree = linkage(squareform(apart, checks=False), "average")
            level = 1 - (self._rules.threshold - self._rules.band)
            for visit, group in enumerate(fcluster(tree, level, "distance")):
                groups[int(group)].append(visit)
        if len(groups) < 2:
            raise BadValueError(
                f"the visits of person {person_id} look like one human being's; name the faces to split off"
            )
        ordered = sorted(groups.values(), key=lambda group: (-len(group), group))
        return [[face for visit in group for face in visits.faces[visit]] for group in ordered[1:]]

    async def _neighbours(self) -> set[tuple[int, int]]:
        """Pairs of persons with similar references, the lower id first."""
        owner = await self._ctx.users.owner(self._user)
        pairs: set[tuple[int, int]] = set()
        for gallery in await self._ctx.galleries.find(owner, None):
            name = gallery["name"]
            if name == REFERENCES or name.startswith(CAMERA_REFERENCES):
                pairs |= await neighbours(
                    self._ctx.database["faces"],
                    self._ctx.facens,
                    owner,
                    name,
                    self._rules.threshold,
                    self._rules.threshold - self._rules.band,
                )
        return pairs

    async def _compare(self, one: int, other: int) -> Proposal | None:
        here, there = await self._visits(one), await self._visits(other)
        met = here.co_visible & set(there.ids) or there.co_visible & set(here.ids)
        both_known = (here.name and there.name and here.name != there.name) or (
            here.enrolled and there.enrolled
        )
        if met or both_known or len(here.ids) * len(there.ids) < MIN_PAIRS:
            return None
        alike = np.asarray(confidence((here.facens @ there.facens.T).astype(np.float32))).ravel().tolist()
        if median(alike) < self._rules.strong or min(alike) < self._rules.threshold - self._rules.band:
            return None
        if (there.name or there.enrolled) and not (here.name or here.enrolled):
            one, other, here, there = other, one, there, here
        return Proposal(one, other, len(here.ids), len(there.ids), median(alike), min(alike))

    async def _visits(self, person_id: int) -> _Visits:
        owner = await self._ctx.users.owner(self._user)
        faces = await self._ctx.faces.find(
            owner, {"person_id": person_id}, sort=[("_id", -1)], limit=MAX_FACES
        )
        found = await self._ctx.persons.find_one(owner, {"_id": person_id})
        return await asyncio.to_thread(self._group_by_visit, faces, found)

    def _group_by_visit(self, faces: Sequence[Face], found: Person | None) -> _Visits:
        """Group a person's latest faces, newest first, by visit. CPU-bound, because it decodes each facen."""
        by_visit: dict[str, list[Face]] = defaultdict(list)
        for face in filter(self._is_usable, reversed(faces)):
            by_visit[visit_of(face) or str(face["_id"])].append(face)
        good = {
            visit: group
            for visit, group in by_visit.items()
            if any(map(self._references.is_good, group))
            or any(ENROLLED_GALLERY in face.galleries for face in group)
        }
        means = [normalise(np.sum([facen_of(face) for face in group], axis=0)) for group in good.values()]
        return _Visits(
            list(good),
            np.stack(means) if means else np.empty((0, 0), np.float32),
            {visit for face in faces for visit in co_visible_visits(face)},
            [[face["_id"] for face in group] for group in good.values()],
            found.get("name") if found else None,
            any(ENROLLED_GALLERY in face.galleries for face in faces),
        )

    def _is_usable(self, face: Face) -> bool:
        return usable_facen(face, self._ctx.faces.facen_size) is not None

    async def _store(self, found: list[Proposal]) -> None:
        owner = await self._ctx.users.owner(self._user)
        at = datetime.now(UTC)
        documents: list[dict[str, Any]] = [{**asdict(one), "owner": owner, "at": at} for one in found]
        try:
            await self._proposals.delete_many({"owner": owner})
            if documents:
                await self._proposals.insert_many(documents)
        except DRIVER_ERRORS as error:
            raise translate_error(error, "person_proposals.write") from error
        log.info("persons were compared", proposals=len(found))


async def distinct_pairs(ctx: Context, user: UserArgument) -> set[frozenset[int]]:
    """Pairs that an operator marked as different persons, by a split or an undone merge; current ids."""
    query = {
        "owner": await ctx.users.owner(user),
        "kind": {"$in": ["merge", "split"]},
        "other": {"$ne": None},
    }
    merged_into: dict[int, int] = {}
    pairs: list[tuple[int, int]] = []
    try:
        async for change in ctx.database[CHANGES].find(query):
            person, other, state = change["person"], change["other"], change["state"]
            if change["kind"] == "merge" and state == "done":
                merged_into[other] = person
            elif (change["kind"], state) in (("merge", "undone"), ("split", "done")):
                pairs.append((person, other))
    except DRIVER_ERRORS as error:
        raise translate_error(error, "person_changes.find") from error

    def current_id(person: int) -> int:
        seen = {person}
        while (
            into := merged_into.get(person)
        ) is not None and into not in seen:  # damaged documents may form cycles
            seen.add(into)
            person = into
        return person

    return {frozenset((current_id(one), current_id(other))) for one, other in pairs}

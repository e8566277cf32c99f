"""Scores of the faces stored from a scene, against its ground truth."""

import statistics
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from daemon.evaluation.truth import Junk, Truth, VisitorIndex
from pipeline.types import Rectangle


@dataclass(frozen=True, slots=True)
class SceneFace:
    """The fields of a stored face that are scored."""

    cam_id: str
    person_id: int | None
    bbox: Rectangle
    media_time: float
    score: float = 0.0
    """The quality score."""
    outcome: str | None = None
    """The outcome of recognition."""
    thumbnail: str | None = None
    """URL of the picture."""


@dataclass(frozen=True, slots=True)
class SceneScores:
    visits: int
    """Visits whose face is large enough to count."""
    visits_found: int
    """Visits with a stored face."""
    visit_recall: float
    stray_faces: int
    """Stored faces that belong to no visit."""
    faces_per_visit: float
    """Mean number of stored faces of a found visit."""
    visits_withheld: int
    """Found visits without a person."""
    identities: int
    """Identities of the visits with a person."""
    persons: int
    """Persons that these visits were assigned to."""
    persons_of_junk: int
    """Persons without a face that belongs to a visit."""
    persons_mixed: int
    """Persons with faces of several identities."""
    identities_split: int
    """Identities with faces of several persons."""
    bcubed_precision: float
    bcubed_recall: float
    bcubed_f1: float
    """Over visits with a person; each visit counts with the person of most of its faces."""
    seconds_to_first_face: float | None
    """Median of the media time from the start of a visit to its first stored face."""


def score(
    truth: Truth, faces: Iterable[SceneFace], min_face_px: float, junk: Junk | None = None
) -> SceneScores:
    """Score the faces. Visits whose face stays smaller than `min_face_px` are ignored, except in the numbers
    of junk, mixed and split persons."""
    faces = list(faces)
    index = VisitorIndex(truth, junk)
    visits = {visit.visit: visit for visit in truth.visits if visit.max_face_px >= min_face_px}
    moments: dict[int, list[float]] = defaultdict(list)
    votes: dict[int, Counter[int]] = defaultdict(Counter)
    stray = 0
    for face in faces:
        visit = index.visit_at(face.cam_id, face.media_time, face.bbox)
        if visit is None:
            stray += 1
        elif visit in visits:
            moments[visit].append(face.media_time)
            if face.person_id is not None:
                votes[visit][face.person_id] += 1
    pairs = [(visits[visit].id, count.most_common(1)[0][0]) for visit, count in votes.items()]
    agreement = bcubed(pairs)
    waits = [
        min(times) - visits[visit].start / truth.fps_of(visits[visit].camera)
        for visit, times in moments.items()
    ]
    identities_of = identities_of_persons(truth, faces, junk)
    shares = Counter(identity for identities in identities_of.values() for identity in identities)
    return SceneScores(
        visits=len(visits),
        visits_found=len(moments),
        visit_recall=len(moments) / max(1, len(visits)),
        stray_faces=stray,
        faces_per_visit=sum(map(len, moments.values())) / max(1, len(moments)),
        visits_withheld=len(moments) - len(votes),
        identities=len({identity for identity, _ in pairs}),
        persons=len({person for count in votes.values() for person in count}),
        persons_of_junk=sum(not identities for identities in identities_of.values()),
        persons_mixed=sum(len(identities) > 1 for identities in identities_of.values()),
        identities_split=sum(number > 1 for number in shares.values()),
        bcubed_precision=agreement.precision,
        bcubed_recall=agreement.recall,
        bcubed_f1=agreement.f1,
        seconds_to_first_face=statistics.median(waits) if waits else None,
    )


def identities_of_persons(
    truth: Truth, faces: Iterable[SceneFace], junk: Junk | None = None
) -> dict[int, Counter[str]]:
    """The identities of each person's faces, with their numbers; empty if no face belongs to a visit."""
    index = VisitorIndex(truth, junk)
    identities = {visit.visit: visit.id for visit in truth.visits}
    identities_of: dict[int, Counter[str]] = defaultdict(Counter)
    for face in faces:
        if face.person_id is None:
            continue
        visit = index.visit_at(face.cam_id, face.media_time, face.bbox)
        identities_of[face.person_id].update([] if visit is None else [identities[visit]])
    return dict(identities_of)


@dataclass(frozen=True, slots=True)
class BCubed:
    """How well predicted groups agree with true groups, averaged over items.

    Bagga and Baldwin 1998, "Algorithms for Scoring Coreference Chains". For an item, precision is the share
    of its group that has its identity, recall the share of its identity that is in its group.
    """

    precision: float
    recall: float

    @property
    def f1(self) -> float:
        """The harmonic mean; 0 if both are 0."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


def bcubed(items: Sequence[tuple[Hashable, Hashable]]) -> BCubed:
    """The agreement of one (identity, group) pair for each item; 0 without items."""
    if not items:
        return BCubed(0.0, 0.0)
    identities = Counter(identity for identity, _ in items)
    groups = Counter(group for _, group in items)
    # All items of one identity in one group have the same precision and recall.
    cells = Counter(items).items()
    precision = sum(number**2 / groups[group] for (_, group), number in cells)
    recall = sum(number**2 / identities[identity] for (identity, _), number in cells)
    return BCubed(precision / len(items), recall / len(items))

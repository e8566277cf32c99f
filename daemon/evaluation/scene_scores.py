"""What was stored of a made scene, scored against its truth."""

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from daemon.evaluation.bcubed import bcubed
from daemon.evaluation.truth import Truth, VisitorIndex
from pipeline.types import Rectangle


@dataclass(frozen=True, slots=True)
class SceneFace:
    """A stored face, as far as the scores need it."""

    cam_id: str
    person_id: int | None
    bbox: Rectangle
    media_time: float


@dataclass(frozen=True, slots=True)
class SceneScores:
    visits: int
    """Visits whose face grew large enough to count."""
    visits_found: int
    """Those with a stored face."""
    visit_recall: float
    stray_faces: int
    """Stored faces where no visitor stood."""
    faces_per_visit: float
    """Stored faces a found visit."""
    visits_withheld: int
    """Found visits without a person."""
    identities: int
    """Identities of the visits with a person."""
    persons: int
    """Persons made for them."""
    bcubed_precision: float
    bcubed_recall: float
    bcubed_f1: float
    """Over visits with a person, each with the person that most of its faces have."""
    seconds_to_first_face: float | None
    """Median of the first stored face minus the visit's begin, in media time."""


def score(truth: Truth, faces: Iterable[SceneFace], min_face_px: float) -> SceneScores:
    """Visits whose face stays smaller than `min_face_px` count neither as found nor as stray."""
    index = VisitorIndex(truth)
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
    waits = [min(times) - visits[visit].start / truth.fps for visit, times in moments.items()]
    return SceneScores(
        visits=len(visits),
        visits_found=len(moments),
        visit_recall=len(moments) / max(1, len(visits)),
        stray_faces=stray,
        faces_per_visit=sum(map(len, moments.values())) / max(1, len(moments)),
        visits_withheld=len(moments) - len(votes),
        identities=len({identity for identity, _ in pairs}),
        persons=len({person for count in votes.values() for person in count}),
        bcubed_precision=agreement.precision,
        bcubed_recall=agreement.recall,
        bcubed_f1=agreement.f1,
        seconds_to_first_face=statistics.median(waits) if waits else None,
    )

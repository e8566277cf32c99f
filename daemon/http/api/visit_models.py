"""Visits as the API shows them."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from daemon.http.api.ids import GivenId, Id
from store.queries.visits import Visit


class VisitPerson(BaseModel):
    id: Id
    name: str | None


class VisitEvidence(BaseModel):
    """Why the visit has this person, or none."""

    outcome: str | None
    """`matched`, `created`, `ambiguous` or `withheld`; null where a plugin stored the face."""
    confidence: float | None
    """0 to 1; null without a match."""
    reason: str | None
    """Why there is no person."""
    quality: float | None
    """Quality score of the best face: 0 is perfect, worse is more negative."""
    faces: int
    """Number of stored faces."""
    persons: list[Id]
    """All persons of its faces; several where recognition was wrong."""
    co_visible: list[str]
    """Visits of other people in the same frames."""


class VisitReview(BaseModel):
    at: datetime
    by: str


class VisitResponse(BaseModel):
    """One continuous stay in front of one camera."""

    id: str
    camera: str
    start: datetime
    end: datetime
    person: VisitPerson | None
    friend: bool
    best_face: Id
    picture: str
    """Path of the best face's thumbnail."""
    evidence: VisitEvidence
    reviewed: VisitReview | None
    """When and by whom the visit was reviewed."""


class VisitChanges(BaseModel):
    """What is given is changed; at most one of `person`, `new_person` and `not_a_face`."""

    model_config = ConfigDict(extra="forbid")

    reviewed: bool | None = None
    person: GivenId | None = None
    """The visit shows this person."""
    new_person: Literal[True] | None = None
    """The visit shows a person who was not known before."""
    not_a_face: Literal[True] | None = None
    """What was stored is no face: its faces are removed, and with them the visit."""


class VisitCount(BaseModel):
    """The visits that began in a period."""

    start: datetime
    visits: int
    persons: int
    """Number of different persons; visits without one do not count."""


def visit_response(visit: Visit) -> VisitResponse:
    person = None
    if visit.person_id is not None:
        person = VisitPerson(id=str(visit.person_id), name=visit.person_name)
    review = None
    if visit.reviewed and visit.reviewed_at is not None:
        review = VisitReview(at=visit.reviewed_at, by=visit.reviewed_by or "")
    return VisitResponse(
        id=visit.id,
        camera=visit.cam_id,
        start=visit.start,
        end=visit.end,
        person=person,
        friend=visit.friend,
        best_face=str(visit.best_face),
        picture=f"/api/v1/faces/{visit.best_face}/thumbnail",
        evidence=VisitEvidence(
            outcome=visit.outcome,
            confidence=visit.confidence,
            reason=visit.reason,
            quality=visit.quality,
            faces=visit.faces,
            persons=[str(person) for person in visit.persons],
            co_visible=visit.co_visible,
        ),
        reviewed=review,
    )

"""The audit log."""

from datetime import datetime
from typing import Annotated, Any

from bson import ObjectId
from fastapi import APIRouter, Query
from pydantic import BaseModel

from daemon.http.api.paging import Cursor, Limit, Page, page_of, position_of
from daemon.http.api.problems import responses
from daemon.http.api.security import Auditing
from daemon.http.api.services import ServicesDependency
from daemon.http.errors import HttpError

router = APIRouter(tags=["audit"])

Filter = Annotated[str | None, Query(max_length=100)]


class AuditRecord(BaseModel):
    """Who did what."""

    at: datetime
    by: str
    address: str
    action: str
    object: str
    details: dict[str, Any]


@router.get("/audit", responses=responses(400))
async def list_entries(
    services: ServicesDependency,
    principal: Auditing,
    limit: Limit = 50,
    cursor: Cursor = None,
    by: Filter = None,
    action: Filter = None,
    object: Filter = None,  # noqa: A002 - the parameter's name in the API
) -> Page[AuditRecord]:
    """The entries, the latest first."""
    position = position_of(cursor)
    if position is not None and not ObjectId.is_valid(position):
        raise HttpError(400, "bad_cursor", "cursor: not one that this list returned")
    before = None if position is None else ObjectId(position)
    found = await services.audit(principal).find(
        limit=limit + 1, before=before, by=by, action=action, object_name=object
    )
    items = [
        AuditRecord(
            at=one.at,
            by=one.by,
            address=one.address,
            action=one.action,
            object=one.object,
            details=dict(one.details),
        )
        for one in found
    ]
    return page_of(items, limit, [one.id for one in found])

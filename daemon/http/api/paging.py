"""Pages of lists: a limit, and a cursor that continues after the last object of a page."""

import base64
import binascii
from collections.abc import Sequence
from typing import Annotated, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel

from daemon.http.errors import HttpError

Item = TypeVar("Item")

Limit = Annotated[int, Query(ge=1, le=200, description="Maximum number of objects on the page.")]
Cursor = Annotated[
    str | None, Query(max_length=200, description="`next` of the page before; without it the first page.")
]


class Page(BaseModel, Generic[Item]):
    """A page of a list."""

    items: list[Item]
    next: str | None
    """The cursor of the next page; null on the last one."""


def cursor_after(position: object) -> str:
    return base64.urlsafe_b64encode(str(position).encode()).decode().rstrip("=")


def position_of(cursor: str | None) -> str | None:
    """The position that `cursor_after` was given; HttpError 400 for any other text."""
    if cursor is None:
        return None
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise HttpError(400, "bad_cursor", "cursor: not one that this list returned") from error
    return text


def number_of(cursor: str | None) -> int | None:
    """The position as a number from 0."""
    text = position_of(cursor)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise HttpError(400, "bad_cursor", "cursor: not one that this list returned")
    return min(int(text), 2**63 - 1)


def page_of(items: Sequence[Item], limit: int, positions: Sequence[object]) -> Page[Item]:
    """A page out of up to limit + 1 objects with their positions."""
    more = len(items) > limit
    return Page(items=list(items[:limit]), next=cursor_after(positions[limit - 1]) if more else None)

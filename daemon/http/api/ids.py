"""Ids in JSON: text, because JavaScript and jq lose the digits of numbers above 2^53."""

from typing import Annotated

from fastapi import Path, Query
from pydantic import BeforeValidator, Field

MAX_ID = 2**63 - 1


def _text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Id = Annotated[str, BeforeValidator(_text), Field(pattern="^(0|[1-9][0-9]{0,18})$", examples=["12"])]
"""The id of a person or face in a response."""
GivenId = Annotated[int, Field(ge=0, le=MAX_ID)]
"""The id of a person or face in a request, as text or number."""
PersonId = Annotated[int, Path(ge=0, le=MAX_ID)]
FaceId = Annotated[int, Path(ge=0, le=MAX_ID)]
PersonFilter = Annotated[int | None, Query(ge=0, le=MAX_ID, description="Id of a person.")]
CameraFilter = Annotated[str | None, Query(max_length=44, description="Id of a camera.")]

"""Parameters of a call: from the query, and from a body of JSON, a form, or a multipart form with files."""

import asyncio
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request

from daemon.http.facenapi.errors import BadParameterError, WireError
from daemon.http.forms import is_multipart, multipart, urlencoded
from pipeline.types import Rectangle
from store.collections.galleries import checked_name
from store.errors import GalleryError

CORNERS = ("x1", "y1", "x2", "y2")
MAX_ID = 2**63 - 1
MAX_BOXES = 100
_INTEGER = re.compile(r"-?[0-9]{1,20}")
TRUE, FALSE = {"1", "yes", "true", "on"}, {"0", "no", "false", "off"}


@dataclass(frozen=True, slots=True)
class Parameters:
    """Values by name: text from queries and forms, JSON's types from JSON bodies. Files by field name."""

    values: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        """Whether a value was given; an empty text and null count as none."""
        return self.values.get(name) not in (None, "")

    def text(self, name: str, default: str | None = None) -> str | None:
        if name not in self.values or self.values[name] is None:
            return default
        if not isinstance(value := self.values[name], str):
            raise BadParameterError(name, value, "expected text")
        return value

    def choice(self, name: str, choices: tuple[str, ...], default: str) -> str:
        value = self.text(name) or default
        if value not in choices:
            raise BadParameterError(name, value, f"expected one of {', '.join(choices)}")
        return value

    def boolean(self, name: str, default: bool | None = None) -> bool | None:
        if not self.has(name):
            return default
        value = self.values[name]
        if isinstance(value, bool):
            return value
        word = str(value).strip().lower()
        if word not in TRUE | FALSE:
            raise BadParameterError(name, value, "expected true or false")
        return word in TRUE

    def integer(self, name: str, low: int, high: int) -> int | None:
        """A whole number; None where it is not given."""
        if not self.has(name):
            return None
        value = self.values[name]
        number = int(value) if isinstance(value, str) and _INTEGER.fullmatch(value) else value
        if isinstance(number, bool) or not isinstance(number, int) or not low <= number <= high:
            raise BadParameterError(name, value, f"expected a whole number from {low} to {high}")
        return number

    def threshold(self, name: str, named: Mapping[str, float], default: str) -> float:
        """A confidence from 0 to 1, given as a number or by name; `none` is 0."""
        value = self.values[name] if self.has(name) else default
        if isinstance(value, str) and value in named:
            return named[value]
        number = _number(value)
        if number is None or not 0 <= number <= 1:
            raise BadParameterError(name, value, f"expected a number from 0 to 1, or {', '.join(named)}")
        return number

    def moment(self, name: str) -> datetime | None:
        """A time in ISO 8601, or as seconds since 1970; without a zone it is UTC."""
        if not self.has(name):
            return None
        value = self.values[name]
        try:
            if (seconds := _number(value)) is not None:
                return datetime.fromtimestamp(seconds, UTC)
            moment = datetime.fromisoformat(str(value))
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError, OSError) as error:
            raise BadParameterError(name, value, "expected a time such as 2026-03-01T12:00:00Z") from error

    def names(self, name: str) -> list[str] | None:
        """Gallery names: a JSON list, or text with commas. None where the parameter is not given."""
        if not self.has(name):
            return None
        value = self.structure(name)
        parts = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
        if not isinstance(parts, list):
            raise BadParameterError(name, value, "expected a list of names")
        return [gallery_name(part, name) for part in parts]

    def texts(self, name: str) -> list[str] | None:
        """A list of texts, as `names`."""
        if not self.has(name):
            return None
        value = self.structure(name)
        parts = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
        if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
            raise BadParameterError(name, value, "expected a list of texts")
        return parts

    def mapping(self, name: str) -> Mapping[str, Any] | None:
        """A JSON object; None where it is not given, or where it is not an object."""
        value = self.structure(name) if self.has(name) else None
        return value if isinstance(value, Mapping) else None

    def boxes(self, name: str = "bbox") -> list[Rectangle]:
        """The boxes of `bbox`: a list of them, or one; each is [x1, y1, x2, y2], an object, or text.

        Without `bbox`, the parameters x1, y1, x2, y2 are one box.
        """
        if not self.has(name):
            if name != "bbox" or not any(self.has(corner) for corner in CORNERS):
                return []
            return [self._box(name, {corner: self.values.get(corner) for corner in CORNERS})]
        value = self.structure(name)
        if isinstance(value, str):
            value = value.split(",")
        if not isinstance(value, list) or (
            len(value) == len(CORNERS) and all(_number(side) is not None for side in value)
        ):
            value = [value]
        if len(value) > MAX_BOXES:
            raise BadParameterError(name, f"{len(value)} boxes", f"expected at most {MAX_BOXES}")
        return [self._box(name, box) for box in value]

    def picture(self, name: str) -> bytes:
        """The bytes of a picture, sent as a file of a multipart form."""
        if data := self.files.get(name):
            return data
        if self.has(name):
            reason = "URLs are not fetched; send the picture as a file in multipart/form-data"
            raise BadParameterError(name, self.values[name], reason)
        raise BadParameterError(name, None, "expected a picture as a file in multipart/form-data")

    def _box(self, name: str, value: object) -> Rectangle:
        sides = [value.get(corner) for corner in CORNERS] if isinstance(value, Mapping) else value
        if isinstance(sides, list) and len(sides) == len(CORNERS):
            numbers = [number for side in sides if (number := _number(side)) is not None]
            if len(numbers) == len(CORNERS) and numbers[0] < numbers[2] and numbers[1] < numbers[3]:
                return Rectangle(*numbers)
        raise BadParameterError(name, value, "expected x1, y1, x2, y2 with x1 < x2 and y1 < y2")

    def structure(self, name: str) -> Any:  # noqa: ANN401 - JSON's values
        """The value; text that looks like JSON is parsed."""
        value = self.values[name]
        if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
            try:
                return json.loads(value)
            except (ValueError, RecursionError) as error:
                raise BadParameterError(name, value, "expected JSON") from error
        return value


def gallery_name(value: object, parameter: str = "gallery") -> str:
    try:
        return checked_name(value)
    except GalleryError as error:
        raise BadParameterError(parameter, value, "expected 1 to 48 characters of A-Z a-z 0-9 _ -") from error


def _number(value: object) -> float | None:
    """A finite number, also as text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


async def read_parameters(request: Request, body: bytes) -> Parameters:
    """The parameters of a request; those of the body precede those of the query.

    Raises:
        HttpError: the body is malformed.
    """
    values: dict[str, Any] = dict(request.query_params)
    files: dict[str, bytes] = {}
    content_type = request.headers.get("content-type", "")
    if is_multipart(content_type):
        form = await asyncio.to_thread(multipart, content_type, body)
        values |= {name: given[-1] for name, given in form.fields.items()}
        files = {name: given[-1].body for name, given in form.files.items()}
    elif fields := urlencoded(content_type, body):
        values |= {name: given[-1] for name, given in fields.items()}
    elif body.strip():
        values |= _json_object(body)
    return Parameters(values, files)


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        given = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise WireError(400, "MALFORMED_JSON", f"the body is not JSON: {error}") from error
    if not isinstance(given, dict):
        raise WireError(400, "MALFORMED_JSON", "the body is expected to be a JSON object")
    return given

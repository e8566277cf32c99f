"""Parses forms in request bodies: fields and files, as browsers and `curl -F` send them."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from typing import Any
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException, MultiPartParser

from daemon.http.errors import HttpError

_KEYS = ("filename", "body", "content_type")

MAX_FILES = 100
MAX_FIELDS = 1000
MAX_URLENCODED_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class UploadedFile(Mapping[str, Any]):
    """A file of a form. Its attributes are also keys, as in Tornado: `file["body"]`, `file.body`."""

    filename: str
    body: bytes
    content_type: str

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401 - text or bytes
        if key not in _KEYS:
            raise KeyError(key)
        return getattr(self, key)

    def __iter__(self) -> Iterator[str]:
        return iter(_KEYS)

    def __len__(self) -> int:
        return len(_KEYS)


@dataclass(frozen=True, slots=True)
class Form:
    """Fields and files by name, in their order; empty if the body is not a form."""

    fields: dict[str, list[str]] = field(default_factory=dict)
    files: dict[str, list[UploadedFile]] = field(default_factory=dict)

    @property
    def only_file(self) -> UploadedFile | None:
        """The file, if there is exactly one."""
        files = [file for named in self.files.values() for file in named]
        return files[0] if len(files) == 1 else None


def is_multipart(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == "multipart/form-data"


def multipart(content_type: str, body: bytes) -> Form:
    """Parse a multipart form. Call it in a thread: a large body takes a while.

    Raises:
        HttpError: 400 if it is malformed or has too many parts.
    """
    header = Message()
    header["content-type"] = content_type
    boundary = (header.get_boundary() or "").encode(errors="surrogateescape")
    if not boundary or b"--" + boundary + b"--" not in body[-len(boundary) - 64 :]:
        raise HttpError(400, "bad_form", "the form ends before its last boundary")
    try:
        return asyncio.run(_parsed(content_type, body))
    except (MultiPartException, ValueError) as error:
        raise HttpError(400, "bad_form", f"the form is malformed: {error}") from error


class _InMemory(MultiPartParser):
    spool_max_size = 0
    """No temporary file: the whole body is already in memory."""


async def _parsed(content_type: str, body: bytes) -> Form:
    async def stream() -> AsyncGenerator[bytes, None]:
        yield body
        yield b""

    headers = Headers({"content-type": content_type})
    parser = _InMemory(headers, stream(), max_files=MAX_FILES, max_fields=MAX_FIELDS, max_part_size=len(body))
    form = Form()
    async with contextlib.aclosing(parser.stream):
        for name, value in (await parser.parse()).multi_items():
            if isinstance(value, str):
                form.fields.setdefault(name, []).append(value)
            else:
                kind = value.content_type or "application/octet-stream"
                file = UploadedFile(value.filename or "", await value.read(), kind)
                form.files.setdefault(name, []).append(file)
    return form


def urlencoded(content_type: str, body: bytes) -> dict[str, list[str]]:
    """The fields of an urlencoded form. Empty for any other body, also one that only claims to be a form.

    `curl --data-binary @picture.jpg` claims that of a picture.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded" or len(body) > MAX_URLENCODED_BYTES or not body.isascii():
        return {}
    try:
        return parse_qs(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except ValueError:
        return {}

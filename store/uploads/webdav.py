"""Pictures on an upload server, by WebDAV (RFC 4918): nginx, Apache and others.

PUT, GET, HEAD and DELETE on the picture's URL, PROPFIND for listings, MKCOL for folders that the server does
not create by itself. Uploads are as atomic as the server's PUT; nginx writes a temporary file and renames it.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeAlias
from urllib.parse import quote, unquote, urlsplit
from xml.etree import ElementTree

import httpx

from pipeline.base.urls import mask_url
from store.errors import PictureRefusedError, UploadError
from store.uploads.http_requests import Answer, AnswerError, Receive, exchange
from store.uploads.keys import KeyUrls, checked_key, key_below
from store.uploads.marker import MARKER, location_in, new_marker
from store.uploads.storage import MAX_PICTURE_BYTES, StoredPicture

_MAX_REQUESTS = 8
"""Concurrent requests of one call."""
_PROPERTIES = b"""<?xml version="1.0" encoding="utf-8"?>
<propfind xmlns="DAV:"><prop><resourcetype/><getcontentlength/></prop></propfind>"""
_DAV = {"d": "DAV:"}
_Parser: TypeAlias = "ElementTree.XMLPullParser[Any]"
_PARSE_CHUNK = 64 * 1024
"""Bytes of a listing per call to the thread pool; the parser holds the GIL."""
_MAX_LISTING_BYTES = 512 * 1024 * 1024
"""Maximum size of a folder's listing, which is parsed while it arrives: a million pictures."""
_MAX_MARKER_BYTES = 64 * 1024
_NO_HEADERS: Mapping[str, str] = {}
_CLAIM_SECONDS = 30.0
"""Time for which the location's id is cached between uploads."""
_NO_FOLDER = (404, 409, 500)
"""Status codes of a PUT into a missing folder: 409 (RFC 4918, 9.7.1), 404, nginx 500."""

PICTURE_STATUSES = frozenset({400, 411, 413, 414, 415, 422})
"""Status codes that refuse one picture permanently: malformed, length missing, too large, URL too long, type
or content not accepted. With Retry-After they are temporary (RFC 9110, 15.5.14). All other failures concern
the server, its settings or its state; docs/store.md has the table."""
MAX_RETRY_AFTER_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class _Resource:
    key: str
    folder: bool
    size: int


class WebDavUploads(KeyUrls):
    """Pictures below the URL of an upload server; implements `Uploads`.

    User, password and timeouts are set in `client`, which the caller closes. `base_url`: the URL at which the
    pictures are served. Default: `url`.
    """

    def __init__(self, client: httpx.AsyncClient, url: str, base_url: str = "") -> None:
        self._client = client
        self._url = url.rstrip("/") + "/"
        self._claimed: tuple[str | None, float] = (None, 0.0)
        super().__init__(base_url or url)

    async def location(self) -> str | None:
        content = await self._content(MARKER, _MAX_MARKER_BYTES)
        return None if content is None else location_in(content, self._url + MARKER)

    async def claim(self) -> str:
        known, until = self._claimed
        if known is None or time.monotonic() >= until:
            known = await self.location() or await self._mark()
            self._claimed = known, time.monotonic() + _CLAIM_SECONDS
        return known

    async def _mark(self) -> str:
        location, content = new_marker()
        # Of two concurrent boxes, the first wins if the server supports the condition (RFC 9110, 13.1.2), the
        # last otherwise; both then read the winner's id.
        headers = {"If-None-Match": "*", "Content-Type": "text/plain"}
        answer = await self._request("PUT", MARKER, content=content, headers=headers)
        if answer.status in _NO_FOLDER:
            self._check(await self._request("MKCOL", ""), "MKCOL", "")
            answer = await self._request("PUT", MARKER, content=content, headers=headers)
        if answer.status != httpx.codes.PRECONDITION_FAILED:
            self._check(answer, "PUT", MARKER)
        return await self.location() or location

    async def put(self, key: str, data: bytes, content_type: str) -> str:
        """As durable as the server, which does not report whether it flushed its disk."""
        headers = {"Content-Type": content_type}
        answer = await self._request("PUT", checked_key(key), content=data, headers=headers)
        if answer.status in _NO_FOLDER:
            await self._make_folders(key)
            answer = await self._request("PUT", key, content=data, headers=headers)
        self._check(answer, "PUT", key)
        return self.url_of(key)

    async def get(self, key_or_url: str) -> bytes | None:
        key = self._own_key(key_or_url)
        if key is None:
            return None
        return await self._content(key, MAX_PICTURE_BYTES)

    async def _content(self, path: str, max_bytes: int) -> bytes | None:
        """The file; None if the server has none."""
        parts: list[bytes] = []

        async def keep(part: bytes) -> None:
            parts.append(part)

        answer = await self._request("GET", path, receive=keep, max_bytes=max_bytes)
        if answer.status == httpx.codes.NOT_FOUND:
            return None
        self._check(answer, "GET", path)
        return b"".join(parts)

    async def delete(self, key_or_url: str) -> bool:
        key = self._own_key(key_or_url)
        if key is None:
            return False
        answer = await self._request("DELETE", key)
        if answer.status == httpx.codes.NOT_FOUND:
            return False
        self._check(answer, "DELETE", key)
        return True

    async def list_keys(self, prefix: str = "") -> AsyncIterator[str]:
        async for entry in self.entries(prefix):
            yield entry.key

    async def entries(self, prefix: str = "") -> AsyncIterator[StoredPicture]:
        pending = (await self._list(prefix))[::-1]
        while pending:
            found = pending.pop()
            if found.folder:
                pending += (await self._list(found.key))[::-1]
            elif found.key != MARKER:
                yield StoredPicture(found.key, found.size)

    async def missing(self, keys_or_urls: Sequence[str]) -> list[str]:
        limiter = asyncio.Semaphore(_MAX_REQUESTS)

        async def exists(key_or_url: str) -> bool:
            key = self._own_key(key_or_url)
            if key is None:
                return True
            async with limiter:
                answer = await self._request("HEAD", key)
            if answer.status != httpx.codes.NOT_FOUND:
                self._check(answer, "HEAD", key)
            return answer.is_success

        found = await asyncio.gather(*(exists(name) for name in keys_or_urls))
        return [name for name, is_stored in zip(keys_or_urls, found, strict=True) if not is_stored]

    async def list_folders(self, prefix: str = "") -> list[str]:
        return [entry.key.rpartition("/")[2] for entry in await self._list(prefix) if entry.folder]

    async def remove_leftovers(self, older_than_seconds: float) -> int:
        """Does nothing: partial uploads are internal to the server."""
        return 0

    async def _list(self, prefix: str) -> list[_Resource]:
        """The entries of one folder that have a key, sorted; none if the folder does not exist."""
        folder = f"{checked_key(prefix)}/" if prefix else ""
        headers = {"Depth": "1", "Content-Type": "application/xml"}
        # The server is the operator's; expat since 2.4.1 limits the expansion of entities.
        parser: _Parser = ElementTree.XMLPullParser(["end"])
        entries: list[_Resource] = []

        async def parse(part: bytes) -> None:
            for start in range(0, len(part), _PARSE_CHUNK):
                chunk = part[start : start + _PARSE_CHUNK]
                entries.extend(await asyncio.to_thread(self._parse, parser, chunk, prefix))

        try:
            answer = await self._request(
                "PROPFIND",
                folder,
                content=_PROPERTIES,
                headers=headers,
                receive=parse,
                max_bytes=_MAX_LISTING_BYTES,
            )
            if answer.status == httpx.codes.NOT_FOUND:
                return []
            self._check(answer, "PROPFIND", folder)
            parser.close()
        except (ElementTree.ParseError, ValueError) as error:
            raise UploadError(f"{self._url}{folder}: the listing cannot be read ({error})") from error
        return sorted(entries, key=lambda entry: f"{entry.key}/" if entry.folder else entry.key)

    def _parse(self, parser: _Parser, part: bytes, folder: str) -> list[_Resource]:
        parser.feed(part)
        entries = []
        for event in parser.read_events():
            element = event[-1]
            if isinstance(element, ElementTree.Element) and element.tag == "{DAV:}response":
                if (entry := self._entry(element, folder)) is not None:
                    entries.append(entry)
                element.clear()
        return entries

    def _entry(self, response: ElementTree.Element, parent: str) -> _Resource | None:
        """None for the folder itself, for entries not directly in it, and for foreign names."""
        path = unquote(urlsplit(response.findtext("d:href", "", _DAV)).path)
        size = response.findtext(".//d:getcontentlength", "", _DAV)
        folder = response.find(".//d:resourcetype/d:collection", _DAV) is not None
        below = path.removeprefix(unquote(urlsplit(self._url).path).rstrip("/")).strip("/")
        above, _, name = below.rpartition("/")
        key = key_below(parent, name) if above == parent else None
        return None if key is None else _Resource(key, folder, int(size or 0))

    async def _make_folders(self, key: str) -> None:
        parts = key.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            folder = "/".join(parts[:depth]) + "/"
            answer = await self._request("MKCOL", folder)
            if answer.status != httpx.codes.METHOD_NOT_ALLOWED:  # it exists
                self._check(answer, "MKCOL", folder)

    async def _request(
        self,
        method: str,
        path: str,
        *,
        content: bytes | None = None,
        headers: Mapping[str, str] = _NO_HEADERS,
        receive: Receive | None = None,
        max_bytes: int = 0,
    ) -> Answer:
        try:
            request = self._client.build_request(
                method,
                self._url + quote(path),
                content=content,
                headers={"Accept-Encoding": "identity", **headers},
            )
            return await exchange(self._client, request, receive=receive, max_bytes=max_bytes)
        except AnswerError as error:
            raise UploadError(
                f"the upload server {self._url} cannot be used: {error} ({method} {path}); see its log"
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise UploadError(
                f"the upload server {self._url} does not answer ({str(error) or type(error).__name__}); "
                "is it up, and is uploads.url right?"
            ) from error

    def _check(self, answer: Answer, method: str, path: str) -> None:
        """Raises the error for an unsuccessful answer."""
        if answer.is_success:
            return
        status, after = answer.status, retry_after_seconds(answer.headers.get("Retry-After"))
        message = (
            f"the upload server refuses {method} {self._url}{path}: "
            f"{status} {answer.reason}; {_advice(answer)}"
        )
        if method == "PUT" and path != MARKER and status in PICTURE_STATUSES and after is None:
            raise PictureRefusedError(message)
        raise UploadError(message, after)


def retry_after_seconds(value: str | None) -> float | None:
    """The delay of a Retry-After header (RFC 9110, 10.2.3), maximum 1 hour; None without a valid one."""
    if value is None:
        return None
    try:
        seconds = float(int(value))
    except OverflowError:
        seconds = MAX_RETRY_AFTER_SECONDS
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError, OverflowError):  # not a date, or without a time zone
            return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS)


def _advice(answer: Answer) -> str:
    status = answer.status
    if 300 <= status < 400 and "Location" in answer.headers:
        target = mask_url(answer.headers.get("Location", "an unnamed address"))
        return f"it redirects to {target:.200}; set uploads.url to the final address"
    if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return "uploads.user and uploads.password must be allowed to do that"
    if status == httpx.codes.NOT_FOUND:
        return "is uploads.url right?"
    if status in (httpx.codes.METHOD_NOT_ALLOWED, httpx.codes.NOT_IMPLEMENTED):
        return "it has to speak WebDAV; see docs/installation.md"
    if status == httpx.codes.REQUEST_ENTITY_TOO_LARGE:
        return "it has to accept files of some megabytes (nginx: client_max_body_size)"
    if status == httpx.codes.INSUFFICIENT_STORAGE:
        return "its disk is full"
    return "see its log"

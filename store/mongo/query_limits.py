"""Limits of queries: time in MongoDB, concurrency, and number of returned documents."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any

from bson import Regex

from store.errors import BadFilterError, QueryTimeoutError

QUERY_SECONDS = 5.0
"""Default time limit of a query with a regular expression, and of each query of a client."""
PLAIN_SECONDS = 25.0
"""Time limit of other queries. Below the driver's socket timeout, so that the server ends them as well."""
MAX_PATTERN_QUERIES = 2
"""Maximum number of concurrent queries with regular expressions. Each can keep a core of the server busy
until its time limit."""
MAX_CLIENT_QUERIES = 8
"""Maximum number of concurrent queries of clients. Fewer than the driver's threads, so that the daemon's
queries do not wait."""

_max_documents: ContextVar[int] = ContextVar("documents that a client may receive", default=0)


@contextmanager
def for_client(max_documents: int) -> Iterator[None]:
    """Apply the limits of clients to queries inside the block, for example in a plugin's HTTP handler.

    These have the short time limit and return up to `max_documents`. Tasks started inside inherit the limits.
    """
    token = _max_documents.set(max_documents)
    try:
        yield
    finally:
        _max_documents.reset(token)


def max_documents() -> int:
    """Maximum number of documents that a query returns in this context; 0 for no limit."""
    return _max_documents.get()


def check_number(documents: int) -> None:
    """BadFilterError if a result exceeds `max_documents`."""
    if 0 < max_documents() < documents:
        raise BadFilterError(
            f"more than {max_documents()} documents pass the filters; narrow them, or pass a limit and "
            "continue after the last _id"
        )


class QueryLimiter:
    """Limits the concurrency and time of queries. One for all collections of a context."""

    def __init__(self, seconds: float = QUERY_SECONDS) -> None:
        self._seconds = seconds
        self._patterns = asyncio.Semaphore(MAX_PATTERN_QUERIES)
        self._clients = asyncio.Semaphore(MAX_CLIENT_QUERIES)

    @asynccontextmanager
    async def admitted(self, operation: str, *parts: object) -> AsyncIterator[int]:
        """Wait for a slot; yields the query's `maxTimeMS`. `parts` are its filters and update.

        Raises:
            QueryTimeoutError: no slot became free within the time limit.
        """
        slots = self._slots(parts)
        if slots is None:
            yield int(PLAIN_SECONDS * 1000)
            return
        try:
            async with asyncio.timeout(self._seconds):
                await slots.acquire()
        except TimeoutError as error:
            raise QueryTimeoutError(
                f"{operation}: other expensive queries took the whole time limit of {self._seconds:g} s; "
                "try again later"
            ) from error
        try:
            yield int(self._seconds * 1000)
        finally:
            slots.release()

    def _slots(self, parts: tuple[object, ...]) -> asyncio.Semaphore | None:
        if any(has_pattern(part) for part in parts):
            return self._patterns
        return self._clients if max_documents() else None


def has_pattern(part: Any) -> bool:  # noqa: ANN401 - filters and updates hold anything
    """Whether filters or an update contain a regular expression."""
    if isinstance(part, re.Pattern | Regex):
        return True
    if isinstance(part, Mapping):
        return "$regex" in part or any(has_pattern(value) for value in part.values())
    return isinstance(part, list | tuple) and any(has_pattern(value) for value in part)

"""Limits on queries: their time in MongoDB, how many run at once, and how many documents they return."""

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
"""Time limit of any other query; below the driver's socket timeout, so that the server ends it too."""
PATTERNS_AT_ONCE = 2
"""A regular expression can keep a core of the server busy for its whole time limit."""
CLIENT_QUERIES_AT_ONCE = 8
"""Less than the driver's threads: the daemon's own queries need not wait for those of clients."""

_max_documents: ContextVar[int] = ContextVar("documents that a client may receive", default=0)


@contextmanager
def for_client(max_documents: int) -> Iterator[None]:
    """Queries inside the block are made for a client, for example in a plugin's HTTP handler.

    Each has the short time limit, and returns at most `max_documents`. Tasks started inside inherit this.
    """
    token = _max_documents.set(max_documents)
    try:
        yield
    finally:
        _max_documents.reset(token)


def max_documents() -> int:
    """Maximum number of documents that a query may return here; 0 without a limit."""
    return _max_documents.get()


def check_number(documents: int) -> None:
    """BadFilterError where an answer has more documents than a client may receive."""
    if 0 < max_documents() < documents:
        raise BadFilterError(
            f"more than {max_documents()} documents pass the filters; narrow them, or pass a limit and "
            "continue after the last _id"
        )


class QueryLimiter:
    """Admits queries, and says how long each may run. One for all collections of a context."""

    def __init__(self, seconds: float = QUERY_SECONDS) -> None:
        self._seconds = seconds
        self._patterns = asyncio.Semaphore(PATTERNS_AT_ONCE)
        self._clients = asyncio.Semaphore(CLIENT_QUERIES_AT_ONCE)

    @asynccontextmanager
    async def admitted(self, operation: str, *parts: object) -> AsyncIterator[int]:
        """Waits for a slot, and gives the query's `maxTimeMS`. `parts`: its filters and its update.

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
    """Whether the filters or the update match a regular expression against text."""
    if isinstance(part, re.Pattern | Regex):
        return True
    if isinstance(part, Mapping):
        return "$regex" in part or any(has_pattern(value) for value in part.values())
    return isinstance(part, list | tuple) and any(has_pattern(value) for value in part)

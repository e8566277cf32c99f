"""Requests to an upload server. Size and duration of an answer are limited: it may have no end."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import httpx

ANSWER_SECONDS = 60.0
"""Maximum duration of a request, beyond the client's timeout and the time of the transfer at `MIN_RATE`."""
MIN_RATE = 16 * 1024
"""Minimum rate of a transfer in bytes per second."""
MAX_DISCARDED_BYTES = 64 * 1024
"""Maximum size of an unwanted body that is read so that the connection can be used again."""

Receive = Callable[[bytes], Awaitable[None]]


class AnswerError(Exception):
    """The answer exceeds a limit."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and headers of an answer."""

    status: int
    reason: str
    headers: httpx.Headers

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


async def exchange(
    client: httpx.AsyncClient,
    request: httpx.Request,
    *,
    receive: Receive | None = None,
    max_bytes: int = MAX_DISCARDED_BYTES,
) -> Answer:
    """Sends a request and passes the body of a successful answer to `receive`, in parts.

    Raises:
        AnswerError: the body has more than `max_bytes`, is compressed, or takes too long.
        httpx.HTTPError: the server does not answer.
    """
    sent = int(request.headers.get("Content-Length", 0))
    seconds = ANSWER_SECONDS + (client.timeout.read or 0.0)
    started = asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout(seconds + sent / MIN_RATE) as deadline:
            response = await client.send(request, stream=True)
            try:
                answer = Answer(response.status_code, response.reason_phrase, response.headers)
                wanted = receive if answer.is_success else None
                if wanted is not None and response.headers.get("Content-Encoding", "identity") != "identity":
                    raise AnswerError("it sends a compressed answer, which was not requested")
                received = 0
                async for part in response.aiter_raw():
                    received += len(part)
                    if wanted is not None and received > max_bytes:
                        raise AnswerError(f"its answer has more than {max_bytes:,} bytes")
                    if wanted is None and received > MAX_DISCARDED_BYTES:
                        break
                    if wanted is not None:
                        await wanted(part)
                    deadline.reschedule(started + seconds + (sent + received) / MIN_RATE)
            finally:
                await response.aclose()
    except TimeoutError as error:
        raise AnswerError(f"its answer is slower than {MIN_RATE // 1024} KiB a second") from error
    return answer

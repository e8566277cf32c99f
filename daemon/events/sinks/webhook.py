"""Webhooks: events as signed HTTP requests, as https://www.standardwebhooks.com specifies."""

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ssl import SSLContext

import httpx
from standardwebhooks import Webhook as Signer

from daemon.events.payload import EventPayload
from daemon.events.sinks.sink import DeliveryResult, RetryClass

MAX_RETRY_AFTER_SECONDS = 86_400.0
REFUSED = frozenset({400, 413, 415, 422})
"""The receiver refuses this body; it would refuse it again."""
GONE = 410
CONNECTIONS = 8


@dataclass(frozen=True, slots=True)
class WebhookTarget:
    """Where a webhook is sent, and how it is signed."""

    name: str
    url: str
    secrets: tuple[str, ...]
    """Base64, with or without `whsec_`; during a rotation the new one and the old one."""
    timeout_seconds: float
    tls: SSLContext | bool = True


class WebhookSink:
    """Implements `daemon.events.sinks.sink.Sink`."""

    def __init__(self, target: WebhookTarget) -> None:
        self._target = target
        self._signers = [Signer(secret) for secret in target.secrets]
        self._client = httpx.AsyncClient(
            follow_redirects=False,  # a redirect would carry the event to another host
            verify=target.tls,
            timeout=httpx.Timeout(target.timeout_seconds),
            limits=httpx.Limits(max_connections=CONNECTIONS),
            trust_env=False,
            headers={"content-type": "application/json", "user-agent": "facend"},
        )

    @property
    def name(self) -> str:
        return self._target.name

    async def deliver(self, payload: EventPayload) -> DeliveryResult:
        body = payload.model_dump_json()
        try:
            async with (
                asyncio.timeout(self._target.timeout_seconds),
                # The answer's body is never read: a receiver may send one without end.
                self._client.stream(
                    "POST", self._target.url, content=body, headers=self._signature(payload.id, body)
                ) as response,
            ):
                return _result(response)
        except (TimeoutError, httpx.TimeoutException):
            reason = f"no answer within {self._target.timeout_seconds:g} s"
        except httpx.HTTPError as error:
            reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        except (httpx.InvalidURL, OSError, UnicodeError) as error:
            # Of an address that no connection can be made to; the text may hold the URL, which is a secret.
            reason = type(error).__name__
        return DeliveryResult(RetryClass.RETRY, reason)

    async def close(self) -> None:
        await self._client.aclose()

    def _signature(self, event_id: str, body: str) -> dict[str, str]:
        now = datetime.now(UTC)
        signed = " ".join(signer.sign(event_id, now, body) for signer in self._signers)
        return {
            "webhook-id": event_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": signed,
        }


def _result(response: httpx.Response) -> DeliveryResult:
    status = response.status_code
    if 200 <= status < 300:
        return DeliveryResult(RetryClass.DELIVERED)
    reason = f"the receiver answers {status} {response.reason_phrase}".strip()
    if status == GONE:
        return DeliveryResult(RetryClass.OFF, reason)
    if status in REFUSED:
        return DeliveryResult(RetryClass.DEAD, reason)
    if 300 <= status < 400:
        reason += "; redirects are not followed"
    return DeliveryResult(RetryClass.RETRY, reason, _retry_after(response.headers.get("retry-after", "")))


def _retry_after(value: str) -> float | None:
    """Seconds of a Retry-After header, which is a number or a date; None if it is neither."""
    seconds: float | None = None
    if value.strip().isdigit() and value.isascii():
        seconds = float(value)
    else:
        with contextlib.suppress(ValueError, OverflowError):
            at = parsedate_to_datetime(value)
            seconds = (at - datetime.now(UTC)).total_seconds() if at.tzinfo else None
    return None if seconds is None else min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS)

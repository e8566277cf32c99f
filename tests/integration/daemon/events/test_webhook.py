"""Webhooks against a real receiver: signatures, and what follows from each answer."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from daemon.events.payload import EventPayload
from daemon.events.sinks.sink import RetryClass
from daemon.events.sinks.webhook import WebhookSink, WebhookTarget
from tests.receivers import Answer, receiving

KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD_KEY = "C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
EVENT = EventPayload(id="evt_1", type="test", time=datetime(2026, 3, 1, tzinfo=UTC), box="b")


def sink(url: str, *secrets: str) -> WebhookSink:
    return WebhookSink(WebhookTarget("test", url, secrets or (KEY,), timeout_seconds=5))


async def test_a_receiver_verifies_the_signature_with_either_secret() -> None:
    """During a rotation a receiver with the new secret and one with the old one accept the same request."""
    with receiving() as receiver:
        await (sent := sink(receiver.url, KEY, OLD_KEY)).deliver(EVENT)
        await sent.close()
        ((headers, body),) = receiver.got
    for secret in (KEY, OLD_KEY):
        assert Webhook(secret).verify(body, headers)["id"] == "evt_1"
    assert headers["webhook-id"] == "evt_1"
    assert headers["content-type"] == "application/json"
    with pytest.raises(WebhookVerificationError):
        Webhook(KEY).verify(body + b" ", headers)
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + "A" * 32).verify(body, headers)


@pytest.mark.parametrize(
    ("answer", "expected", "after"),
    [
        ((200, {}), RetryClass.DELIVERED, None),
        ((204, {}), RetryClass.DELIVERED, None),
        ((301, {"Location": "/elsewhere"}), RetryClass.RETRY, None),
        ((307, {"Location": "http://127.0.0.1:9/"}), RetryClass.RETRY, None),
        ((400, {}), RetryClass.DEAD, None),
        ((401, {}), RetryClass.RETRY, None),
        ((404, {}), RetryClass.RETRY, None),
        ((408, {}), RetryClass.RETRY, None),
        ((410, {}), RetryClass.OFF, None),
        ((413, {}), RetryClass.DEAD, None),
        ((422, {}), RetryClass.DEAD, None),
        ((429, {"Retry-After": "17"}), RetryClass.RETRY, 17),
        ((500, {}), RetryClass.RETRY, None),
        ((503, {"Retry-After": "120"}), RetryClass.RETRY, 120),
        ((503, {"Retry-After": "99999999"}), RetryClass.RETRY, 86_400),
        ((503, {"Retry-After": "-5"}), RetryClass.RETRY, None),
        ((503, {"Retry-After": "soon"}), RetryClass.RETRY, None),
    ],
    ids=str,
)
async def test_what_follows_from_an_answer(answer: Answer, expected: RetryClass, after: float | None) -> None:
    """One transient error loses nothing, a refused body is not sent for ever, 410 ends the webhook."""
    with receiving(lambda _: answer) as receiver:
        result = await (sent := sink(receiver.url)).deliver(EVENT)
        await sent.close()
        assert len(receiver.got) == 1  # a redirect is not followed
    assert (result.retry_class, result.retry_after_seconds) == (expected, after)
    assert (result.reason == "") == (expected is RetryClass.DELIVERED)
    assert "secret-path" not in result.reason


async def test_retry_after_may_be_a_date() -> None:
    """As HTTP allows; a date in the past asks for no pause."""
    at = {"Retry-After": format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)}
    past = {"Retry-After": format_datetime(datetime.now(UTC) - timedelta(seconds=60), usegmt=True)}
    with receiving(lambda number: (503, at if number == 0 else past)) as receiver:
        sent = sink(receiver.url)
        first, second = [(await sent.deliver(EVENT)).retry_after_seconds for _ in range(2)]
        await sent.close()
    assert first is not None
    assert 50 < first <= 60
    assert second == 0

"""What every sink promises, against a real receiver; a new sink adds a `SinkCase`."""

import asyncio
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from pydantic import SecretStr

from daemon.events.payload import EventPayload
from daemon.events.sinks.mqtt.settings import MqttSettings
from daemon.events.sinks.mqtt.sink import MqttSink, broker_of
from daemon.events.sinks.mqtt.topics import Topics
from daemon.events.sinks.sink import DeliveryResult, RetryClass, Sink
from daemon.events.sinks.webhook import WebhookSink, WebhookTarget
from tests.mosquitto import PASSWORD, USER, mosquitto, watching
from tests.receivers import receiving

KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@dataclass
class SinkCase:
    """A sink, and its receiver as seen from a test."""

    sink: Sink
    received: Callable[[], list[EventPayload]]
    hang: Callable[[], None]
    """Let the receiver answer no more in time."""


@contextmanager
def webhook(timeout_seconds: float = 20) -> Iterator[SinkCase]:
    with receiving() as receiver:

        def received() -> list[EventPayload]:
            return [EventPayload.model_validate_json(body) for _, body in receiver.got]

        def hang() -> None:
            receiver.delay_seconds = 2

        yield SinkCase(_webhook_sink(receiver.url, timeout_seconds), received, hang)


@contextmanager
def mqtt(timeout_seconds: float = 20) -> Iterator[SinkCase]:
    with TemporaryDirectory() as folder, mosquitto(Path(folder)) as broker, watching(broker) as watcher:

        def received() -> list[EventPayload]:
            watcher.sync()
            return [EventPayload.model_validate_json(one) for one in watcher.of("facend/büro/event")]

        yield SinkCase(_mqtt_sink(broker.port, timeout_seconds), received, broker.freeze)


@contextmanager
def unreachable_webhook() -> Iterator[Sink]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        yield _webhook_sink(f"http://127.0.0.1:{free.getsockname()[1]}/")


@contextmanager
def unreachable_mqtt() -> Iterator[Sink]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        yield _mqtt_sink(free.getsockname()[1], 20)


def _mqtt_sink(port: int, timeout_seconds: float) -> MqttSink:
    settings = MqttSettings(
        url=f"mqtt://127.0.0.1:{port}",
        user=USER,
        password=SecretStr(PASSWORD),
        timeout_seconds=timeout_seconds,
    )
    topics = Topics("facend", "homeassistant", "büro")
    return MqttSink(settings, topics, broker_of(settings, topics))


def _webhook_sink(url: str, timeout_seconds: float = 20) -> WebhookSink:
    return WebhookSink(WebhookTarget("test", url, (KEY,), timeout_seconds))


MakeCase = Callable[..., AbstractContextManager[SinkCase]]

SINKS = [pytest.param(webhook, id="webhook"), pytest.param(mqtt, id="mqtt")]
UNREACHABLE = [
    pytest.param(unreachable_webhook, id="webhook"),
    pytest.param(unreachable_mqtt, id="mqtt"),
]


def event(number: int = 0, **facts: object) -> EventPayload:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    facts = {"id": f"evt_{number:032x}", "type": "test", "time": at, "box": "büro", **facts}
    return EventPayload.model_validate(facts)


@pytest.mark.parametrize("case", SINKS)
async def test_an_event_arrives_as_it_is(case: MakeCase) -> None:
    """Whole, with its id, umlauts and times; a second delivery is the same event."""
    with case() as one:
        sent = event(reason="Türkamera “aus”")
        for _ in range(2):
            assert await one.sink.deliver(sent) == DeliveryResult(RetryClass.DELIVERED)
        assert one.received() == [sent, sent]
        await one.sink.close()


@pytest.mark.parametrize("case", SINKS)
async def test_concurrent_deliveries_do_not_mix(
    case: MakeCase,
) -> None:
    """Each event arrives once."""
    with case() as one:
        events = [event(number) for number in range(20)]
        results = await asyncio.gather(*(one.sink.deliver(each) for each in events))
        assert {result.retry_class for result in results} == {RetryClass.DELIVERED}
        assert sorted(got.id for got in one.received()) == [each.id for each in events]
        await one.sink.close()


@pytest.mark.parametrize("case", SINKS)
async def test_a_receiver_that_hangs_is_a_retry_within_the_time_limit(
    case: MakeCase,
) -> None:
    """The sink's own limit ends the attempt; the result says so."""
    with case(timeout_seconds=0.5) as one:
        one.hang()
        result = await asyncio.wait_for(one.sink.deliver(event()), 1.5)
        assert (result.retry_class, result.reason) == (RetryClass.RETRY, "no answer within 0.5 s")
        await one.sink.close()


@pytest.mark.parametrize("case", UNREACHABLE)
async def test_a_receiver_that_is_away_is_a_retry(case: Callable[[], AbstractContextManager[Sink]]) -> None:
    """No exception, and a reason in words."""
    with case() as sink:
        result = await sink.deliver(event())
        assert result.retry_class is RetryClass.RETRY
        assert result.reason
        await sink.close()


@pytest.mark.parametrize("address", ["xn--", "a..b", "-.example:", "h:0x5"])
async def test_an_address_without_meaning_is_a_retry(address: str) -> None:
    """The delivery of the others goes on, and the reason does not show the path."""
    sink = _webhook_sink(f"http://{address}/password", 5)
    result = await sink.deliver(event())
    await sink.close()
    assert result.retry_class is RetryClass.RETRY and "password" not in result.reason


def test_the_message_has_a_schema() -> None:
    """Version 1: every field is described by its type, and unknown fields are refused."""
    schema = EventPayload.model_json_schema()
    assert schema["additionalProperties"] is False
    assert schema["properties"]["version"]["const"] == 1
    assert set(schema["required"]) == {"id", "type", "time", "box"}
    assert json.loads(event().model_dump_json())["version"] == 1

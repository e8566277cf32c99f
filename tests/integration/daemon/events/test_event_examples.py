"""The examples of docs/events.md and docs/examples, as they stand there."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from daemon.config.settings import Settings
from daemon.events.payload import EventPayload
from daemon.events.sinks.mqtt.discovery import EVENT_TYPES, Discovery
from daemon.events.sinks.mqtt.states import visit_event
from daemon.events.sinks.mqtt.topics import Topics
from daemon.events.sinks.sink import DeliveryResult, RetryClass
from daemon.events.sinks.webhook import WebhookSink, WebhookTarget
from tests.receivers import receiving

DOCS = Path(__file__).parents[4] / "docs"
TEXT = (DOCS / "events.md").read_text()
KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)


def event(number: int = 1, **facts: Any) -> EventPayload:
    person = {"id": "7", "name": "Änne", "new": False, "friend": True, "lists": ["staff"]}
    person |= {"first_seen": None, "previous_visit_ended_at": None}
    facts = {"type": "visit.started", "camera": "door", "person": person, **facts}
    return EventPayload.model_validate({"id": f"evt_{number}", "time": AT, "box": "box", **facts})


async def deliver(url: str, payload: EventPayload) -> DeliveryResult:
    sink = WebhookSink(WebhookTarget("example", url, (KEY,), timeout_seconds=10))
    try:
        return await sink.deliver(payload)
    finally:
        await sink.close()


@pytest.fixture
def python_receiver() -> Iterator[subprocess.Popen[str]]:
    """The example, listening; its next line is that of the first event."""
    process = subprocess.Popen(
        [sys.executable, str(DOCS / "examples" / "webhook_receiver.py"), "0"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "SECRET": KEY},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


async def test_the_python_receiver_verifies_and_ignores_repetitions(
    python_receiver: subprocess.Popen[str],
) -> None:
    """A repeated event is printed once; one that is not signed is refused."""
    assert python_receiver.stdout is not None
    url = f"http://127.0.0.1:{python_receiver.stdout.readline().split()[-1]}/"
    for number in (1, 1, 2):
        assert (await deliver(url, event(number))).retry_class is RetryClass.DELIVERED
    async with httpx.AsyncClient() as client:
        answer = await client.post(url, content=event(3).model_dump_json(), headers={"webhook-id": "evt_3"})
        assert answer.status_code == 401
    await deliver(url, event(4, type="camera.down", person=None))
    lines = [python_receiver.stdout.readline().strip() for _ in range(3)]
    assert lines == ["visit.started Änne door", "visit.started Änne door", "camera.down nobody door"]


def test_all_settings_in_the_documentation_are_valid() -> None:
    """Each block as it stands, with its secrets filled in."""
    found = [tomllib.loads(re.sub(r"\$\{credential:[^}]*\}", KEY, block)) for block in blocks("toml")]
    assert len(found) >= 4
    for one in found:
        if "mqtt" in one:
            one["mqtt"]["tls_verify"] = True
        Settings.model_validate(one)


async def test_the_ntfy_example_names_fields_of_the_message() -> None:
    """The URL reaches the server as it is written, and each field of its template is in the message."""
    (block,) = [one for one in blocks("toml") if "ntfy" in one]
    (hook,) = tomllib.loads(block)["webhooks"]
    query = parse_qs(urlsplit(hook["url"]).query)
    message = event(type=hook["types"][0]).model_dump(mode="json")
    fields = re.findall(r"\{\{\s*\.([a-z_.]+)\s*\}\}", " ".join(query["m"] + query["t"]))
    assert fields
    for field in fields:
        value: Any = message
        for part in field.split("."):
            value = value[part]
        assert value
    with receiving() as receiver:
        url = hook["url"].replace("https://ntfy.example", f"http://127.0.0.1:{receiver.port}")
        assert (await deliver(url, event())).retry_class is RetryClass.DELIVERED
        assert parse_qs(urlsplit(receiver.paths[0]).query) == query


def test_the_home_assistant_example_fits_the_discovered_entity() -> None:
    """Its attributes are in the event entity's message, and the entity announces its event type."""
    (automation,) = blocks("yaml")
    attributes = set(re.findall(r"attributes\.(\w+)", automation))
    sent = visit_event(event(visit={"id": "v", "camera": "door", "started_at": AT, "faces": 1}))
    assert attributes == {"event_type", "label"}
    assert attributes <= set(sent)
    (wanted,) = re.findall(r"event_type == '([a-z.]+)'", automation)
    entity = Discovery(Topics("facend", "homeassistant", "box")).camera("door", "Front door")
    assert wanted in entity["components"]["event"]["event_types"] == list(EVENT_TYPES)

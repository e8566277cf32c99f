"""What a camera's and a person's topics hold after events."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from daemon.events.payload import EventPayload
from daemon.events.sinks.mqtt.retained import Publication
from daemon.events.sinks.mqtt.settings import MqttSettings
from daemon.events.sinks.mqtt.states import MqttStates, NamedPerson
from daemon.events.sinks.mqtt.topics import Topics

TOPICS = Topics("facend", "homeassistant", "box")
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Case:
    def __init__(self, **settings: Any) -> None:
        self.later: list[Publication] = []
        self.states = MqttStates(
            MqttSettings.model_validate({"present_seconds": 0.05, **settings}), TOPICS, self.later.extend
        )
        self.states.camera("door", "Haustür", online=True)
        self.states.person(7, NamedPerson("Änne", None))

    def happens(
        self, kind: str, person: tuple[int, str | None] | None, *, visit: str = "v1", seconds: float = 0
    ) -> list[Publication]:
        at = AT + timedelta(seconds=seconds)
        part = None
        if person is not None:
            part = {"id": str(person[0]), "name": person[1], "new": False, "friend": False}
            part |= {"first_seen": None, "previous_visit_ended_at": None}
        facts = {"id": "evt_1", "type": kind, "time": at, "box": "box", "camera": "door", "person": part}
        facts["visit"] = {"id": visit, "camera": "door", "started_at": AT, "faces": 1}
        return self.states.of_event(EventPayload.model_validate(facts))

    def last(self) -> Any:
        return json.loads(self.states.retained.get(TOPICS.camera_last("door")) or "")

    def present(self) -> str | None:
        return self.states.retained.get(TOPICS.person_present(7))


@pytest.mark.parametrize(
    ("person", "label"),
    [
        ((7, "Änne"), "Änne"),
        ((8, None), "unnamed person"),
        (None, "not recognised"),
        ((7, "x" * 300), "x" * 255),
    ],
)
async def test_the_last_person_is_readable(person: tuple[int, str | None] | None, label: str) -> None:
    """Umlauts stay; no label is empty or reads like a broken sensor, and none is too long for a state."""
    case = Case()
    assert case.last() == {"label": "no visitor yet"}
    case.happens("visit.started", person)
    assert case.last()["label"] == label


async def test_a_late_event_does_not_replace_a_newer_state() -> None:
    """An event that waited for the broker is published, and the newest person stays."""
    case = Case()
    case.happens("visit.started", (7, "Änne"), seconds=10)
    out = case.happens("visit.started", (8, None), visit="v0")
    assert case.last()["label"] == "Änne"
    assert [one.topic for one in out if not one.retain] == [TOPICS.camera_event("door")]


async def test_presence_lasts_until_after_the_visit() -> None:
    """ON from the first event, OFF some time after the end of the last visit."""
    case = Case()
    assert case.present() == "OFF"
    case.happens("visit.started", (7, "Änne"))
    case.happens("visit.started", (7, "Änne"), visit="v2")
    case.happens("visit.ended", (7, "Änne"))
    await asyncio.sleep(0.1)
    assert case.present() == "ON"  # the other visit has not ended
    case.happens("visit.ended", (7, "Änne"), visit="v2")
    assert case.present() == "ON"
    await asyncio.sleep(0.1)
    assert case.present() == "OFF"
    assert [one.content for one in case.later] == ["OFF"]


async def test_a_mistaken_identity_is_taken_back_at_once() -> None:
    """A visit that turns out to be of another person does not leave the first one present."""
    case = Case(present_seconds=60)
    case.happens("visit.started", (7, "Änne"))
    case.happens("visit.updated", (8, None))
    await asyncio.sleep(0.01)
    assert case.present() == "OFF"


async def test_a_rename_publishes_the_new_name_everywhere() -> None:
    """The device of the same id, and each camera that saw the person last."""
    case = Case()
    case.happens("visit.started", (7, "Änne"))
    topics = {one.topic for one in case.states.person(7, NamedPerson("Anna", None))}
    assert topics == {
        TOPICS.discovery(TOPICS.person_device(7)),
        TOPICS.person_last(7),
        TOPICS.camera_last("door"),
    }
    assert case.last()["label"] == "Anna"


@pytest.mark.parametrize("discovery", [True, False])
async def test_a_removed_person_or_camera_leaves_nothing(discovery: bool) -> None:
    """All its topics are emptied, which removes them from the broker; strangers have none."""
    case = Case(discovery=discovery)
    case.happens("visit.started", (8, None))
    assert not any("/8/" in one.topic for one in case.states.retained)
    removed = case.states.remove_person(7) + case.states.remove_camera("door")
    assert {one.content for one in removed} == {""}
    assert len(removed) == (6 if discovery else 4)
    assert list(case.states.retained) == []

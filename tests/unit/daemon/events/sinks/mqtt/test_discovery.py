"""Discovery messages, against the rules that Home Assistant documents for them.

https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery, and the pages of the platforms `event`,
`sensor` and `binary_sensor`.
"""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from daemon.events.sinks.mqtt.discovery import Discovery
from daemon.events.sinks.mqtt.topics import Topics

TOPICS = Topics("facend", "homeassistant", "Büro 1/2")
DISCOVERY = Discovery(TOPICS)
MESSAGES = {
    TOPICS.device: DISCOVERY.box(),
    TOPICS.camera_device("door"): DISCOVERY.camera("door", "Haustür"),
    TOPICS.person_device(7): DISCOVERY.person(7, "Änne"),
}


def is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def is_topic(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[^+#\0]{1,65535}", value) is not None


def is_texts(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(map(is_text, value))


Rule = tuple[bool, Callable[[object], bool]]
"""Whether the key is required, and what its value must be."""

DEVICE: dict[str, Rule] = {
    "identifiers": (True, is_texts),
    "name": (True, is_text),
    "manufacturer": (False, is_text),
    "model": (False, is_text),
    "sw_version": (False, is_text),
    "via_device": (False, is_text),
}
ORIGIN: dict[str, Rule] = {"name": (True, is_text), "sw_version": (False, is_text)}
TOP: dict[str, Rule] = {
    "device": (True, lambda value: isinstance(value, dict)),
    "origin": (True, lambda value: isinstance(value, dict)),
    "components": (True, lambda value: isinstance(value, dict) and bool(value)),
    "qos": (False, lambda value: value in (0, 1, 2)),
}
ENTITY: dict[str, Rule] = {
    "platform": (True, is_text),
    "unique_id": (True, is_text),
    "name": (True, is_text),
    "state_topic": (True, is_topic),
    "availability_topic": (False, is_topic),
    "payload_available": (False, is_text),
    "payload_not_available": (False, is_text),
    "icon": (False, lambda value: isinstance(value, str) and value.startswith("mdi:")),
    "entity_category": (False, lambda value: value in ("config", "diagnostic")),
    "value_template": (False, is_text),
    "json_attributes_topic": (False, is_topic),
}
PLATFORMS: dict[str, dict[str, Rule]] = {
    "event": {"event_types": (True, is_texts)},
    "sensor": {"device_class": (False, lambda value: value == "timestamp")},
    "binary_sensor": {
        "device_class": (False, lambda value: value in ("connectivity", "presence")),
        "payload_on": (False, is_text),
        "payload_off": (False, is_text),
    },
}


def check(message: dict[str, Any], rules: dict[str, Rule]) -> None:
    assert set(message) <= set(rules), set(message) - set(rules)
    assert {key for key, (required, _) in rules.items() if required} <= set(message)
    for key, value in message.items():
        assert rules[key][1](value), (key, value)


@pytest.mark.parametrize("device", MESSAGES)
def test_messages_follow_the_documented_rules(device: str) -> None:
    """Device, origin and each component have the required keys, no unknown ones, and valid values."""
    message = MESSAGES[device]
    check(message, TOP)
    check(message["device"], DEVICE)
    check(message["origin"], ORIGIN)
    for component in message["components"].values():
        check(component, ENTITY | PLATFORMS[component["platform"]])


@pytest.mark.parametrize("device", MESSAGES)
def test_topics_of_discovery_are_valid(device: str) -> None:
    """`PREFIX/device/ID/config`, where the id has only A-Z a-z 0-9 _ and -; so does each component's key."""
    assert re.fullmatch(r"homeassistant/device/[A-Za-z0-9_-]+/config", TOPICS.discovery(device))
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", key) for key in MESSAGES[device]["components"])


def test_unique_ids_are_unique_and_survive_a_rename() -> None:
    """Names are friendly names alone: no id and no topic contains one."""
    ids = [one["unique_id"] for message in MESSAGES.values() for one in message["components"].values()]
    assert len(set(ids)) == len(ids) == 6

    def without_name(message: dict[str, Any]) -> str:
        return json.dumps({**message, "device": {**message["device"], "name": ""}})

    assert without_name(DISCOVERY.person(7, "Anna")) == without_name(DISCOVERY.person(7, "Berta"))
    assert without_name(DISCOVERY.camera("door", "Tür")) == without_name(DISCOVERY.camera("door", ""))


def test_every_device_belongs_to_the_box() -> None:
    """Cameras and persons name the box as the device that connects them."""
    box = MESSAGES[TOPICS.device]["device"]
    others = [message["device"] for key, message in MESSAGES.items() if key != TOPICS.device]
    assert [one["via_device"] for one in others] == box["identifiers"] * 2


@pytest.mark.parametrize(
    ("topic", "ours"),
    [
        (TOPICS.available, True),
        (TOPICS.discovery(TOPICS.device), True),
        (TOPICS.discovery(TOPICS.camera_device("yard")), True),
        (TOPICS.discovery(TOPICS.person_device(99)), True),
        (Topics("facend", "homeassistant", "Büro").discovery(TOPICS.device + "0"), False),
        (Topics("facend", "homeassistant", "Büro").available, False),
        ("facend/Büro 1%2F20/available", False),
        ("homeassistant/device/zigbee_1/config", False),
    ],
)
def test_only_topics_of_this_box_are_its_own(topic: str, ours: bool) -> None:
    """Retained topics of other boxes and programs are never removed."""
    assert TOPICS.is_ours(topic) is ours

"""Home Assistant discovery messages for the box, its cameras and the named persons.

One message per device, as https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery describes (Home
Assistant 2024.11 and later).
"""

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from daemon.events.sinks.mqtt.topics import OFFLINE, ONLINE, Topics

VISIT_TYPES = ("visit.started", "visit.updated", "visit.ended")
EVENT_TYPES = (*VISIT_TYPES, "rule.matched")
"""What the event entity of a camera can report."""
QOS = 1

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Discovery:
    topics: Topics

    def box(self) -> Message:
        """The box itself: whether the daemon runs."""
        device = self.topics.device
        connectivity = {
            "platform": "binary_sensor",
            "unique_id": f"{device}_running",
            "name": "Running",
            "device_class": "connectivity",
            "entity_category": "diagnostic",
            "state_topic": self.topics.available,
            "payload_on": ONLINE,
            "payload_off": OFFLINE,
        }
        return {
            **self._common(device, f"Facend {self.topics.box}", "Box"),
            "components": {"running": connectivity},
        }

    def camera(self, cam_id: str, name: str) -> Message:
        """A camera: events of its visits, the last person, whether frames arrive."""
        device, topics = self.topics.camera_device(cam_id), self.topics
        components = {
            "event": {
                "platform": "event",
                "unique_id": f"{device}_event",
                "name": "Visit",
                "event_types": list(EVENT_TYPES),
                "state_topic": topics.camera_event(cam_id),
                "icon": "mdi:face-recognition",
                **self._availability(),
            },
            "last": {
                "platform": "sensor",
                "unique_id": f"{device}_last",
                "name": "Last person",
                "state_topic": topics.camera_last(cam_id),
                "value_template": "{{ value_json.label }}",
                "json_attributes_topic": topics.camera_last(cam_id),
                "icon": "mdi:account",
                **self._availability(),
            },
            "connectivity": {
                "platform": "binary_sensor",
                "unique_id": f"{device}_connectivity",
                "name": "Connection",
                "device_class": "connectivity",
                "entity_category": "diagnostic",
                "state_topic": topics.camera_state(cam_id),
                "payload_on": ONLINE,
                "payload_off": OFFLINE,
                **self._availability(),
            },
        }
        return {**self._common(device, name or cam_id, "Camera", within_box=True), "components": components}

    def person(self, person_id: int, name: str) -> Message:
        """A named person: last seen, and presence."""
        device, topics = self.topics.person_device(person_id), self.topics
        components = {
            "last": {
                "platform": "sensor",
                "unique_id": f"{device}_last",
                "name": "Last seen",
                "device_class": "timestamp",
                "state_topic": topics.person_last(person_id),
                "value_template": "{{ value_json.time }}",
                "json_attributes_topic": topics.person_last(person_id),
                **self._availability(),
            },
            "present": {
                "platform": "binary_sensor",
                "unique_id": f"{device}_present",
                "name": "Presence",
                "device_class": "presence",
                "state_topic": topics.person_present(person_id),
                **self._availability(),
            },
        }
        return {**self._common(device, name, "Person", within_box=True), "components": components}

    def _common(self, device: str, name: str, model: str, *, within_box: bool = False) -> Message:
        about: Message = {
            "identifiers": [device],
            "name": name,
            "manufacturer": "Facend",
            "model": model,
            "sw_version": version("facend"),
        }
        if within_box:
            about["via_device"] = self.topics.device
        return {
            "device": about,
            "origin": {"name": "Facend", "sw_version": version("facend")},
            "qos": QOS,
        }

    def _availability(self) -> Message:
        return {
            "availability_topic": self.topics.available,
            "payload_available": ONLINE,
            "payload_not_available": OFFLINE,
        }

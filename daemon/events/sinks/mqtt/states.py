"""What the box publishes about its cameras and the named persons, from events and from what is stored."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from daemon.events.payload import EventPayload
from daemon.events.sinks.mqtt.discovery import EVENT_TYPES, VISIT_TYPES, Discovery
from daemon.events.sinks.mqtt.presence import Presence
from daemon.events.sinks.mqtt.retained import Publication, RetainedTopics
from daemon.events.sinks.mqtt.settings import MqttSettings
from daemon.events.sinks.mqtt.topics import OFFLINE, ONLINE, Topics

NO_VISITOR_YET = "no visitor yet"
UNNAMED = "unnamed person"
NOT_RECOGNISED = "not recognised"
# Home Assistant shows a state `unknown` as if the sensor were broken, so no label is that word.
MAX_LABEL = 255
"""Home Assistant's limit for a state."""


@dataclass(frozen=True, slots=True)
class LastSeen:
    """The latest sighting, of a camera or of a person."""

    at: datetime
    camera: str
    person: int | None
    name: str | None


@dataclass(frozen=True, slots=True)
class NamedPerson:
    name: str
    last: LastSeen | None


class MqttStates:
    """Called on the event loop. Each method returns what has to be published."""

    def __init__(
        self, settings: MqttSettings, topics: Topics, publish_later: Callable[[list[Publication]], None]
    ) -> None:
        """`publish_later` gets what changes with time alone."""
        self.retained = RetainedTopics()
        self._discovery = Discovery(topics) if settings.discovery else None
        self._topics = topics
        self._presence = Presence(
            settings.present_seconds, lambda person_id: publish_later(self._present(person_id))
        )
        self._cameras: dict[str, LastSeen | None] = {}
        self._persons: dict[int, NamedPerson] = {}

    @property
    def cameras(self) -> frozenset[str]:
        return frozenset(self._cameras)

    def last(self, cam_id: str) -> LastSeen | None:
        return self._cameras.get(cam_id)

    @property
    def persons(self) -> Mapping[int, NamedPerson]:
        return self._persons

    def close(self) -> None:
        self._presence.close()

    def box(self) -> list[Publication]:
        out = self.retained.put(self._topics.available, ONLINE)
        if self._discovery is not None:
            out += self._device(self._topics.device, self._discovery.box())
        return out

    def camera(self, cam_id: str, name: str, *, online: bool) -> list[Publication]:
        """A camera is there, in this state."""
        new = cam_id not in self._cameras
        out: list[Publication] = []
        if self._discovery is not None:
            out += self._device(self._topics.camera_device(cam_id), self._discovery.camera(cam_id, name))
        out += self.retained.put(self._topics.camera_state(cam_id), ONLINE if online else OFFLINE)
        return out + (self.camera_last(cam_id, None) if new else [])

    def camera_last(self, cam_id: str, last: LastSeen | None) -> list[Publication]:
        """Who was seen last, as it is stored."""
        self._cameras[cam_id] = last
        content = (
            {"label": NO_VISITOR_YET}
            if last is None
            else {**_seen(last), "label": _label(last.person, last.name)}
        )
        return self.retained.put(self._topics.camera_last(cam_id), _json(content))

    def remove_camera(self, cam_id: str) -> list[Publication]:
        self._cameras.pop(cam_id, None)
        topics = self._topics
        return self.retained.drop(
            topics.discovery(topics.camera_device(cam_id)),
            topics.camera_state(cam_id),
            topics.camera_last(cam_id),
        )

    def person(self, person_id: int, person: NamedPerson) -> list[Publication]:
        """A named person is there, perhaps with another name than before."""
        self._persons[person_id] = person
        out: list[Publication] = []
        if self._discovery is not None:
            device = self._topics.person_device(person_id)
            out += self._device(device, self._discovery.person(person_id, person.name))
        content = {"name": person.name, "time": None} if person.last is None else _seen(person.last)
        out += self.retained.put(self._topics.person_last(person_id), _json(content))
        out += self._present(person_id)
        for cam_id, last in list(self._cameras.items()):
            if last is not None and last.person == person_id and last.name != person.name:
                out += self.camera_last(cam_id, LastSeen(last.at, last.camera, person_id, person.name))
        return out

    def remove_person(self, person_id: int) -> list[Publication]:
        """A person was erased, merged into another one, or has no name any more."""
        self._persons.pop(person_id, None)
        self._presence.forget(person_id)
        topics = self._topics
        return self.retained.drop(
            topics.discovery(topics.person_device(person_id)),
            topics.person_last(person_id),
            topics.person_present(person_id),
        )

    def of_event(self, payload: EventPayload) -> list[Publication]:
        """What a visit changes. Older visits than the one that is published change nothing."""
        visit = payload.visit
        if visit is None or visit.camera not in self._cameras or payload.type not in EVENT_TYPES:
            return []
        cam_id, part = visit.camera, payload.person
        person_id = None if part is None else int(part.id)
        name = None if part is None else part.name
        last = LastSeen(payload.time, cam_id, person_id, name)
        out = [Publication(self._topics.camera_event(cam_id), _json(visit_event(payload)), retain=False)]
        if payload.type not in VISIT_TYPES:
            return out
        before = self._cameras[cam_id]
        if before is None or before.at <= last.at:
            out += self.camera_last(cam_id, last)
        self._presence.visit(visit.id, person_id, ended=payload.type == "visit.ended")
        if person_id is not None and name:
            known = self._persons.get(person_id)
            if known is None or known.name != name or known.last is None or known.last.at <= last.at:
                out += self.person(person_id, NamedPerson(name, last))
            out += self._present(person_id)
        return out

    def _present(self, person_id: int) -> list[Publication]:
        if person_id not in self._persons:
            return []
        state = "ON" if person_id in self._presence else "OFF"
        return self.retained.put(self._topics.person_present(person_id), state)

    def _device(self, device: str, message: Mapping[str, Any]) -> list[Publication]:
        return self.retained.put(self._topics.discovery(device), _json(message))


def _label(person_id: int | str | None, name: str | None) -> str:
    """How a person is shown; never empty, and never a word that Home Assistant takes for a broken sensor."""
    return NOT_RECOGNISED if person_id is None else (name or UNNAMED)[:MAX_LABEL]


def visit_event(payload: EventPayload) -> dict[str, Any]:
    """The event entity's message: `event_type`, which is one of `EVENT_TYPES`, and attributes."""
    person, match, face = payload.person, payload.match, payload.face
    person_id, name = (None, None) if person is None else (person.id, person.name)
    return {
        "event_type": payload.type,
        "id": payload.id,
        "label": _label(person_id, name),
        "rule": payload.rule,
        "person": person_id,
        "name": name,
        "new": None if person is None else person.new,
        "friend": None if person is None else person.friend,
        "confidence": None if match is None else match.confidence,
        "provisional": None if match is None else match.provisional,
        "thumbnail_url": None if face is None else face.thumbnail_url,
        "time": payload.time.isoformat(),
    }


def _seen(last: LastSeen) -> dict[str, Any]:
    return {
        "time": last.at.isoformat(),
        "camera": last.camera,
        "person": None if last.person is None else str(last.person),
        "name": last.name,
    }


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False)

"""Announces the box, its cameras and the named persons: at each connection, when they change, and when Home
Assistant has started. Retained topics that the box no longer has are removed from the broker.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence

import structlog

from daemon.events.announced import AnnouncedCamera
from daemon.events.sinks.mqtt.client import BrokerError, MqttClient, Received
from daemon.events.sinks.mqtt.retained import Publication
from daemon.events.sinks.mqtt.settings import MqttSettings
from daemon.events.sinks.mqtt.sink import MqttSink, publish_all
from daemon.events.sinks.mqtt.states import LastSeen, NamedPerson
from daemon.events.sinks.mqtt.topics import ONLINE
from pipeline.base.background import supervised, wait_at_most
from store import Context, User
from store.errors import StoreError
from store.mongo.change_stream import watch
from store.queries.people import list_people

log = structlog.get_logger(__name__)

MAX_PERSONS = 1000
"""Named persons that are announced, the newest ones."""
REFRESH_SECONDS = 60.0
"""Maximum delay of a changed name, for a MongoDB without change streams."""
SETTLE_SECONDS = 0.3
"""Changes that come together are published once."""


class MqttAnnouncer:
    def __init__(
        self,
        settings: MqttSettings,
        sink: MqttSink,
        cameras: Callable[[], Sequence[AnnouncedCamera]],
        ctx: Context,
        user: User,
    ) -> None:
        """`cameras`: those that this box reads."""
        self._settings = settings
        self._sink = sink
        self._states = sink.states
        self._topics = sink.topics
        self._cameras = cameras
        self._ctx = ctx
        self._user = user
        self._changed = asyncio.Event()
        self._again = False
        self._truncated = False
        sink.connection.on_connected.append(self._connected)
        sink.connection.on_message = self._receive

    def changed(self, *_: object) -> None:
        """Something may have to be announced."""
        self._changed.set()

    async def run(self) -> None:
        """Announce changes until cancelled."""
        watching = supervised(watch(self._ctx.database["persons"], self.changed), "changes of persons")
        self._sink.connection.start()
        try:
            while True:
                self._changed.clear()
                with contextlib.suppress(BrokerError):  # the next connection announces all
                    await self._announce_changes()
                await wait_at_most(self._changed, REFRESH_SECONDS)
                await asyncio.sleep(SETTLE_SECONDS)
        finally:
            watching.cancel()

    async def _announce_changes(self) -> None:
        changes = await self._update()
        again, self._again = self._again, False
        client = await self._sink.connection.client()
        await publish_all(client, list(self._states.retained) if again else changes)

    async def _connected(self, client: MqttClient) -> None:
        """Publish everything; what the broker has beyond it is removed as it arrives."""
        await self._update()
        await publish_all(client, list(self._states.retained))
        filters = [self._topics.states, *([self._topics.discoveries] if self._settings.discovery else [])]
        refused = [one for one in filters if not await client.subscribe(one)]
        if refused:
            log.info("the MQTT broker allows no look at retained topics, so old ones stay", topics=refused)
        if self._settings.discovery:
            await client.subscribe(self._topics.home_assistant)
        # A confirmed message comes behind all retained ones.
        await client.publish(self._topics.available, ONLINE, retain=True)
        for one in filters:
            client.unsubscribe(one)

    def _receive(self, message: Received) -> None:
        if message.topic == self._topics.home_assistant:
            if message.content == ONLINE.encode() and not message.retained:
                self._again = True
                self._changed.set()
        elif (
            message.retained
            and message.content
            and self._topics.is_ours(message.topic)
            and message.topic not in self._states.retained
        ):
            self._sink.publish_later([Publication(message.topic, "")])

    async def _update(self) -> list[Publication]:
        """Bring the states up to date; returns what has changed."""
        try:
            return self._states.box() + await self._update_cameras() + await self._update_persons()
        except StoreError as error:
            log.debug("persons are announced later", reason=str(error))
            return []

    async def _update_cameras(self) -> list[Publication]:
        cameras = [one for one in self._cameras() if self._settings.wants_camera(one.id)]
        out: list[Publication] = []
        for cam_id in self._states.cameras - {one.id for one in cameras}:
            out += self._states.remove_camera(cam_id)
        for camera in cameras:
            is_new = camera.id not in self._states.cameras
            out += self._states.camera(camera.id, camera.name, online=camera.online)
            if is_new:
                out += self._states.camera_last(camera.id, await self._last(camera.id))
        return out

    async def _update_persons(self) -> list[Publication]:
        found = await list_people(self._ctx, self._user, limit=MAX_PERSONS, named=True)
        if len(found) == MAX_PERSONS and not self._truncated:
            self._truncated = True
            log.warning("only the newest named persons are announced by MQTT", persons=MAX_PERSONS)
        out: list[Publication] = []
        for person_id in set(self._states.persons) - {one.id for one in found}:
            out += self._states.remove_person(person_id)
        for one in found:
            name = one.name or ""
            known = self._states.persons.get(one.id)
            if known is None:
                last = None
                if one.last_seen is not None and one.last_camera is not None:
                    last = LastSeen(one.last_seen, one.last_camera, one.id, name)
                out += self._states.person(one.id, NamedPerson(name, last))
            elif known.name != name:
                out += self._states.person(one.id, NamedPerson(name, known.last))
        return out + await self._update_lasts({one.id for one in found})

    async def _update_lasts(self, named: set[int]) -> list[Publication]:
        """A camera does not show a person who was erased, merged, or has lost the name."""
        out: list[Publication] = []
        for cam_id in self._states.cameras:
            last = self._states.last(cam_id)
            if last is None or last.person is None or (last.person in named and last.name):
                continue
            stored = await self._ctx.persons.find_one(self._user, {"_id": last.person})
            if stored is None or (stored.get("name") or None) != last.name:
                out += self._states.camera_last(cam_id, await self._last(cam_id))
        return out

    async def _last(self, cam_id: str) -> LastSeen | None:
        """The latest stored sighting of a camera."""
        face = await self._ctx.faces.find_one(self._user, {"cam_id": cam_id}, sort=[("timestamp", -1)])
        if face is None or face.timestamp is None:
            return None
        person_id, name = face.get("person_id"), None
        if person_id is not None:
            person = await self._ctx.persons.find_one(self._user, {"_id": person_id})
            name = None if person is None else person.get("name") or None
        return LastSeen(face.timestamp, cam_id, person_id, name)

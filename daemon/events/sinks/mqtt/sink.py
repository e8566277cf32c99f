"""MQTT: each event on the box's topic, and what follows from it for cameras and persons."""

import asyncio
import hashlib
from collections.abc import Sequence

from daemon.errors import SettingsError
from daemon.events.payload import EventPayload
from daemon.events.sinks.mqtt.client import Broker, BrokerError, MqttClient
from daemon.events.sinks.mqtt.connection import MqttConnection
from daemon.events.sinks.mqtt.retained import Publication
from daemon.events.sinks.mqtt.settings import SINK_NAME, MqttSettings
from daemon.events.sinks.mqtt.states import MqttStates
from daemon.events.sinks.mqtt.topics import OFFLINE, Topics
from daemon.events.sinks.sink import DeliveryResult, RetryClass
from pipeline.base.tls import ca_file, client_context


def broker_of(settings: MqttSettings, topics: Topics, *, trial: bool = False) -> Broker:
    """`trial`: a second connection beside the daemon's, without a last will.

    Raises:
        SettingsError: a file of `tls_verify`, `client_certificate` or `client_key` cannot be used.
    """
    host, port = settings.address
    context = None
    if settings.tls:
        try:
            context = client_context(settings.tls_verify)
        except OSError as error:
            problem = f"the CA file {ca_file(settings.tls_verify)} cannot be used ({error.strerror or error})"
            raise SettingsError([f"mqtt.tls_verify: {problem}"]) from error
        if settings.client_certificate is not None and settings.client_key is not None:
            try:
                context.load_cert_chain(settings.client_certificate, settings.client_key, password="")
            except OSError as error:
                problem = f"certificate and key cannot be used ({error.strerror or error})"
                raise SettingsError([f"mqtt.client_certificate: {problem}"]) from error
    # The same after a restart: the broker then ends the old connection at once, with its last will.
    client_id = "facend-" + hashlib.sha256(topics.root.encode()).hexdigest()[:12]
    return Broker(
        host,
        port,
        f"{client_id}-test" if trial else client_id,
        settings.user,
        settings.password.get_secret_value(),
        context,
        settings.keepalive_seconds,
        settings.timeout_seconds,
        "" if trial else topics.available,
        "" if trial else OFFLINE,
    )


class MqttSink:
    """Implements `daemon.events.sinks.sink.Sink`."""

    def __init__(self, settings: MqttSettings, topics: Topics, broker: Broker) -> None:
        self.topics = topics
        self.connection = MqttConnection(broker)
        self.states = MqttStates(settings, topics, self.publish_later)
        self._settings = settings
        self._publishing: set[asyncio.Task[None]] = set()

    @property
    def name(self) -> str:
        return SINK_NAME

    async def deliver(self, payload: EventPayload) -> DeliveryResult:
        try:
            client = await self.connection.client()
            if not self._settings.types or payload.type in {*self._settings.types, "test"}:
                await client.publish(self.topics.event, payload.model_dump_json())
            await publish_all(client, self.states.of_event(payload))
        except BrokerError as error:
            return DeliveryResult(RetryClass.DEAD if error.permanent else RetryClass.RETRY, str(error))
        return DeliveryResult(RetryClass.DELIVERED)

    async def close(self) -> None:
        self.states.close()
        for task in self._publishing:
            task.cancel()
        await self.connection.close()

    def publish_later(self, publications: list[Publication]) -> None:
        """Publish states outside of a delivery. Without a connection the next one announces them."""
        if publications:
            task = asyncio.create_task(self._publish(publications))
            self._publishing.add(task)
            task.add_done_callback(self._publishing.discard)

    async def _publish(self, publications: Sequence[Publication]) -> None:
        try:
            await publish_all(await self.connection.client(), publications)
        except BrokerError:
            return  # the log has the reason


async def publish_all(client: MqttClient, publications: Sequence[Publication]) -> None:
    """In this order, each one confirmed.

    Raises:
        BrokerError: one of them was not.
    """
    for one in publications:
        await client.publish(one.topic, one.content, retain=one.retain)

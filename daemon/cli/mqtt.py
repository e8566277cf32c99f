"""`facend mqtt`: the MQTT broker of the settings."""

import asyncio
from datetime import UTC, datetime
from uuid import uuid4

import click

from daemon.cli.context import CommandContext, store_options
from daemon.cli.groups import CommandGroup
from daemon.cli.output import to_json
from daemon.errors import StartError
from daemon.events.payload import EventPayload
from daemon.events.sinks.mqtt.settings import MqttSettings
from daemon.events.sinks.mqtt.topics import Topics
from daemon.events.sinks.sink import DeliveryResult, RetryClass


@click.group(cls=CommandGroup)
def mqtt() -> None:
    """Test the MQTT broker of the settings.

    docs/events.md lists the topics.
    """


@mqtt.command("test")
@store_options(user=False)
def test(command: CommandContext) -> None:
    """Publish an event of the type `test` now, once, and report the answer.

    The daemon's connection to the broker is not disturbed.
    """
    settings = command.settings.mqtt
    if not settings.enabled:
        raise StartError("there is no MQTT broker; set url in the section [mqtt] of settings.toml")
    topics = Topics(settings.base_topic, settings.discovery_prefix, command.settings.box)
    result = asyncio.run(_send(settings, topics))
    if command.as_json:
        row = {"topic": topics.event, "result": result.retry_class.value, "reason": result.reason}
        click.echo(to_json(row))
    if result.retry_class is not RetryClass.DELIVERED:
        raise StartError(f"MQTT broker {settings.url}: {result.reason}")
    if not command.as_json:
        click.echo(f"MQTT broker {settings.url}: delivered to {topics.event}")


async def _send(settings: MqttSettings, topics: Topics) -> DeliveryResult:
    # Imported on use: paho is loaded only where MQTT is used.
    from daemon.events.sinks.mqtt.sink import MqttSink, broker_of

    sink = MqttSink(settings, topics, broker_of(settings, topics, trial=True))
    try:
        return await sink.deliver(
            EventPayload(id=f"evt_{uuid4().hex}", type="test", time=datetime.now(UTC), box=topics.box)
        )
    finally:
        await sink.close()


COMMANDS = (mqtt,)

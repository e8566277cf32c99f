"""`facend webhooks list` and `test`."""

import asyncio
from datetime import UTC, datetime
from urllib.parse import urlsplit
from uuid import uuid4

import click

from daemon.cli.context import CommandContext, store_options
from daemon.cli.groups import CommandGroup
from daemon.cli.output import echo_table, to_json
from daemon.cli.store import read_rows
from daemon.config.stored_webhooks import AddedWebhooks
from daemon.errors import StartError
from daemon.events.payload import EventPayload
from daemon.events.sinks.settings import WebhookSettings
from daemon.events.sinks.sink import DeliveryResult, RetryClass
from daemon.events.sinks.webhook import WebhookSink
from daemon.events.sinks.webhook_target import webhook_target
from store import Context, Users
from store.outbox.deliveries import Deliveries
from store.outbox.sink_states import SinkStates


@click.group(cls=CommandGroup)
def webhooks() -> None:
    """List, add, remove and test webhooks, and show and repeat their deliveries.

    See docs/events.md for the messages.
    """


@webhooks.command("list")
@store_options()
def list_webhooks(command: CommandContext) -> None:
    """List the webhooks, with their numbers of delivered, waiting and dead events.

    Only scheme and host of a URL are shown, because the path often is a secret.
    """

    added = AddedWebhooks(command.settings.data_dir)

    async def work(ctx: Context, user: Users.Model) -> list[dict[str, object]]:
        off = await SinkStates(ctx.database, user["_id"], ctx.box).switched_off()
        known = {one.name: (one, "added") for one in await added.all(ctx, user["_id"])}
        known |= {one.name: (one, "settings") for one in command.settings.webhooks}
        return [
            _row(
                one,
                source,
                off.get(one.name, ""),
                await Deliveries(ctx.database, user["_id"], ctx.box, one.name).counts(),
            )
            for one, source in known.values()
        ]

    of_settings = [_row(one, "settings", "", {}) for one in command.settings.webhooks]
    rows = read_rows(command, work) or of_settings
    if command.as_json:
        click.echo(to_json(rows))
    elif rows:
        keys = ("name", "source", "host", "enabled", "off", "delivered", "pending", "dead")
        echo_table([keys, *(tuple(row[key] for key in keys) for row in rows)])
    else:
        click.echo("there are no webhooks; `facend webhooks add` adds one")


@webhooks.command("test")
@store_options()
@click.argument("name")
def test(command: CommandContext, name: str) -> None:
    """Send an event of the type `test` now, once, and report the answer."""
    result = asyncio.run(_send(_named(command, name), command.settings.box))
    if command.as_json:
        row = {"name": name, "result": result.retry_class.value, "reason": result.reason}
        click.echo(to_json(row))
    if result.retry_class is not RetryClass.DELIVERED:
        raise StartError(f"webhook {name}: {result.reason}")
    if not command.as_json:
        click.echo(f"webhook {name}: delivered")


def _named(command: CommandContext, name: str) -> WebhookSettings:
    """
    Raises:
        StartError: there is no such webhook.
    """
    known = {one.name: one for one in command.settings.webhooks}
    if name not in known:
        added = AddedWebhooks(command.settings.data_dir)

        async def work(ctx: Context, user: Users.Model) -> list[WebhookSettings]:
            return list(await added.all(ctx, user["_id"]))

        known |= {one.name: one for one in read_rows(command, work) if one.name not in known}
    if name not in known:
        raise StartError(f"there is no webhook {name}; there are: {', '.join(known) or 'none'}")
    return known[name]


async def _send(webhook: WebhookSettings, box: str) -> DeliveryResult:
    sink = WebhookSink(webhook_target(webhook))
    try:
        return await sink.deliver(
            EventPayload(id=f"evt_{uuid4().hex}", type="test", time=datetime.now(UTC), box=box)
        )
    finally:
        await sink.close()


def _row(webhook: WebhookSettings, source: str, off: str, counts: dict[str, int]) -> dict[str, object]:
    parts = urlsplit(webhook.url.get_secret_value())
    return {
        "name": webhook.name,
        "host": f"{parts.scheme}://{parts.hostname}",
        "source": source,
        "enabled": webhook.enabled,
        "off": off or None,
        "types": list(webhook.types),
        "cameras": list(webhook.cameras),
        **{state: counts.get(state, 0) for state in ("delivered", "pending", "dead")},
    }

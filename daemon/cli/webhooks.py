"""`facend webhooks`: the webhooks of the settings."""

import asyncio
from datetime import UTC, datetime
from urllib.parse import urlsplit
from uuid import uuid4

import click

from daemon.cli.context import CommandContext, store_options
from daemon.cli.groups import CommandGroup
from daemon.cli.output import echo_table, to_json
from daemon.cli.store import read_rows
from daemon.errors import StartError
from daemon.events.delivery import webhook_target
from daemon.events.payload import EventPayload
from daemon.events.sinks.settings import WebhookSettings
from daemon.events.sinks.sink import DeliveryResult, RetryClass
from daemon.events.sinks.webhook import WebhookSink
from store import Context, Users
from store.outbox.deliveries import Deliveries


@click.group(cls=CommandGroup)
def webhooks() -> None:
    """List and test the webhooks of the settings.

    docs/events.md describes what they receive.
    """


@webhooks.command("list")
@store_options()
def list_webhooks(command: CommandContext) -> None:
    """List the webhooks, and how many events were delivered, wait and were given up.

    Of the URL only scheme and host are shown, because its path often is a password.
    """

    async def work(ctx: Context, user: Users.Model) -> list[dict[str, int]]:
        return [
            await Deliveries(ctx.database, user["_id"], ctx.box, webhook.name).counts()
            for webhook in command.settings.webhooks
        ]

    counted = read_rows(command, work) or [{} for _ in command.settings.webhooks]
    rows = [_row(webhook, counts) for webhook, counts in zip(command.settings.webhooks, counted, strict=True)]
    if command.as_json:
        click.echo(to_json(rows))
    elif rows:
        keys = ("name", "host", "enabled", "delivered", "pending", "dead")
        echo_table([keys, *(tuple(row[key] for key in keys) for row in rows)])
    else:
        click.echo("there are no webhooks; add a section [[webhooks]] to settings.toml")


@webhooks.command("test")
@store_options(user=False)
@click.argument("name")
def test(command: CommandContext, name: str) -> None:
    """Send an event of the type `test` now, once, and report the answer."""
    found = next((one for one in command.settings.webhooks if one.name == name), None)
    if found is None:
        known = ", ".join(one.name for one in command.settings.webhooks) or "none"
        raise StartError(f"there is no webhook {name}; the settings have: {known}")
    result = asyncio.run(_send(found, command.settings.box))
    if command.as_json:
        row = {"name": name, "result": result.retry_class.value, "reason": result.reason}
        click.echo(to_json(row))
    if result.retry_class is not RetryClass.DELIVERED:
        raise StartError(f"webhook {name}: {result.reason}")
    if not command.as_json:
        click.echo(f"webhook {name}: delivered")


async def _send(webhook: WebhookSettings, box: str) -> DeliveryResult:
    sink = WebhookSink(webhook_target(webhook))
    try:
        return await sink.deliver(
            EventPayload(id=f"evt_{uuid4().hex}", type="test", time=datetime.now(UTC), box=box)
        )
    finally:
        await sink.close()


def _row(webhook: WebhookSettings, counts: dict[str, int]) -> dict[str, object]:
    parts = urlsplit(webhook.url.get_secret_value())
    return {
        "name": webhook.name,
        "host": f"{parts.scheme}://{parts.hostname}",
        "enabled": webhook.enabled,
        "types": list(webhook.types),
        "cameras": list(webhook.cameras),
        **{state: counts.get(state, 0) for state in ("delivered", "pending", "dead")},
    }


COMMANDS = (webhooks,)

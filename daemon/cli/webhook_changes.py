"""`facend webhooks add|remove|enable|deliveries|resend`."""

from dataclasses import asdict

import click

from daemon.cli import secrets as cli_secrets
from daemon.cli.changes import changes_argument, parsed_changes
from daemon.cli.context import CommandContext, store_options
from daemon.cli.output import echo_table, to_json
from daemon.cli.store import read_rows, with_store
from daemon.cli.webhooks import webhooks
from daemon.config.stored_webhooks import AddedWebhooks
from daemon.config.validation import validate_part
from daemon.errors import StartError
from daemon.events.sinks.mqtt.settings import SINK_NAME
from daemon.events.sinks.settings import WebhookSettings, new_secret
from daemon.events.sinks.webhook_target import webhook_target
from store import ConflictError, Context, Users
from store.outbox.deliveries import Deliveries, DeliveryRecord, DeliveryState
from store.outbox.events import Outbox
from store.outbox.sink_states import SinkStates

STATES: tuple[DeliveryState, ...] = ("pending", "delivered", "dead")


@webhooks.command("add")
@store_options()
@click.argument("name", metavar="NAME")
@click.argument("url", metavar="URL")
@changes_argument
def add(command: CommandContext, name: str, url: str, changes: tuple[str, ...]) -> None:
    """Add a webhook of this box. The running daemon uses it at once.

    KEY=VALUE is a key of [[webhooks]] in settings.toml, such as 'types=["rule.matched"]'. Without secret=… a
    secret is made and printed, this once. URL and secrets are kept on this box, not in MongoDB.

    Arguments are visible in `ps`: use '${env:NAME}' or '${file:/path}' in the URL, or - to read it from
    standard input.
    """
    if name in {one.name for one in command.settings.webhooks}:
        raise StartError(f"settings.toml has a webhook {name}: change it there, or choose another name")
    if name == SINK_NAME:
        raise StartError(f"{SINK_NAME} is the name of the MQTT sink: choose another one")
    given = {"secret": new_secret(), **parsed_changes(changes)}
    raw = {**given, "name": name, "url": cli_secrets.argument(url, "URL")}
    webhook = validate_part(WebhookSettings, raw, f"webhook {name}")
    webhook_target(webhook)

    async def work(ctx: Context, user: Users.Model) -> None:
        try:
            await AddedWebhooks(command.settings.data_dir).add(ctx, user["_id"], webhook)
        except ConflictError as error:
            raise StartError(f"{error}; `facend webhooks remove` removes it") from error

    with_store(command, work)
    made = "" if "secret" in parsed_changes(changes) else webhook.secret.get_secret_value()
    if command.as_json:
        click.echo(to_json({"added": name, "secret": made or None}))
    else:
        click.echo(f"webhook {name} is added" + (f"; its secret, shown this once: {made}" if made else ""))


@webhooks.command("remove")
@store_options()
@click.argument("name", metavar="NAME")
def remove(command: CommandContext, name: str) -> None:
    """Remove a webhook that was added, with its URL and secrets."""

    async def work(ctx: Context, user: Users.Model) -> None:
        if not await AddedWebhooks(command.settings.data_dir).remove(ctx, user["_id"], name):
            in_settings = name in {one.name for one in command.settings.webhooks}
            hint = "remove it from settings.toml" if in_settings else "`facend webhooks list` lists them"
            raise StartError(f"there is no added webhook {name}: {hint}")
        await SinkStates(ctx.database, user["_id"], ctx.box).switch_on(name)

    with_store(command, work)
    click.echo(to_json({"removed": name}) if command.as_json else f"webhook {name} is removed")


@webhooks.command("enable")
@store_options()
@click.argument("name", metavar="NAME")
def enable(command: CommandContext, name: str) -> None:
    """Switch a webhook on again whose receiver has answered 410.

    `facend webhooks resend NAME --dead` sends what was given up meanwhile.
    """

    async def work(ctx: Context, user: Users.Model) -> None:
        if not await SinkStates(ctx.database, user["_id"], ctx.box).switch_on(name):
            raise StartError(f"the webhook {name} is not switched off")

    with_store(command, work)
    click.echo(to_json({"enabled": name}) if command.as_json else f"webhook {name} is switched on")


@webhooks.command("deliveries")
@store_options()
@click.argument("name", metavar="NAME")
@click.option("--state", type=click.Choice(STATES), help="Only deliveries in this state.")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Maximum number."
)
def deliveries(command: CommandContext, name: str, state: str | None, limit: int) -> None:
    """List the deliveries of the last 7 days to a webhook (or mqtt), those of the latest events first."""

    async def work(ctx: Context, user: Users.Model) -> list[DeliveryRecord]:
        chosen = next((one for one in STATES if one == state), None)
        return await Deliveries(ctx.database, user["_id"], ctx.box, name).latest(limit, chosen)

    found = read_rows(command, work)
    if command.as_json:
        click.echo(to_json([asdict(one) for one in found]))
        return
    keys = ("event_id", "state", "attempts", "since", "ended_at", "next_at", "reason")
    echo_table([keys, *(tuple(getattr(one, key) for key in keys) for one in found)])


@webhooks.command("resend")
@store_options()
@click.argument("name", metavar="NAME")
@click.argument("event_id", metavar="[EVENT]", required=False)
@click.option("--dead", is_flag=True, help="All events that were given up.")
def resend(command: CommandContext, name: str, event_id: str | None, dead: bool) -> None:
    """Deliver one event, or all that were given up, to a webhook (or mqtt) again.

    The running daemon does it within ten seconds. The ids of the events are those of the first delivery.
    """
    if (event_id is None) == (not dead):
        raise click.UsageError("expected the id of an event, or --dead")

    async def work(ctx: Context, user: Users.Model) -> int:
        sink = Deliveries(ctx.database, user["_id"], ctx.box, name)
        if event_id is None:
            return await sink.resend_dead()
        event = await Outbox(ctx.database, user["_id"], ctx.box).get(event_id)
        if event is None:
            raise StartError(f"there is no event {event_id}: it has expired, or its person was erased")
        await sink.resend(event)
        return 1

    known = {SINK_NAME, *(one.name for one in command.settings.webhooks)}

    async def checked(ctx: Context, user: Users.Model) -> int:
        added = {one.name for one in await AddedWebhooks(command.settings.data_dir).all(ctx, user["_id"])}
        if name not in known | added:
            raise StartError(f"there is no webhook {name}; `facend webhooks list` lists them")
        return await work(ctx, user)

    number = with_store(command, checked)
    click.echo(
        to_json({"resent": number}) if command.as_json else f"webhook {name}: {number} to be sent again"
    )


COMMANDS = (webhooks,)

"""`facend rules`: watch rules, and the visits that match them."""

import getpass

import click

from daemon.cli.changes import changes_argument, parsed_changes
from daemon.cli.context import CommandContext, store_options
from daemon.cli.groups import CommandGroup
from daemon.cli.output import echo_table, to_json
from daemon.cli.store import read_rows, with_store
from daemon.config.validation import validate_part
from daemon.errors import StartError
from daemon.events.messages import MessageBuilder
from daemon.events.payload import EventPayload
from daemon.events.rules.engine import RULES
from daemon.events.rules.settings import RuleSettings
from store import ConflictError, Context, Users
from store.collections.watch_lists import WatchLists
from store.mongo.named_documents import NamedDocuments
from store.outbox.events import Outbox


@click.group(cls=CommandGroup)
def rules() -> None:
    """List, add and remove watch rules, and show the visits that match them.

    docs/events.md describes the conditions.
    """


@rules.command("list")
@store_options()
def list_rules(command: CommandContext) -> None:
    """List the rules: those of settings.toml, and those that were added."""

    async def work(ctx: Context, user: Users.Model) -> list[RuleSettings]:
        stored = await NamedDocuments(ctx.database, RULES, user["_id"]).all()
        return [
            validate_part(RuleSettings, {**content, "name": name}, f"rule {name}")
            for name, content in stored.items()
        ]

    of_settings = {rule.name: rule for rule in command.settings.rules}
    found = [(rule, "added") for rule in read_rows(command, work) if rule.name not in of_settings]
    found += [(rule, "settings") for rule in of_settings.values()]
    if command.as_json:
        click.echo(to_json([{**rule.model_dump(mode="json"), "source": source} for rule, source in found]))
    elif found:
        rows = [(rule.name, source, rule.enabled, _conditions(rule)) for rule, source in found]
        echo_table([("name", "source", "enabled", "conditions"), *rows])
    else:
        click.echo("there are no watch rules; `facend rules add` adds one")


@rules.command("add")
@store_options()
@click.argument("name", metavar="NAME")
@changes_argument
def add(command: CommandContext, name: str, changes: tuple[str, ...]) -> None:
    """Add a rule. KEY=VALUE is a key of [[rules]] in settings.toml, such as who=unnamed.

    It applies from the next visit on, without a restart.
    """
    rule = validate_part(RuleSettings, {**parsed_changes(changes), "name": name}, f"rule {name}")

    async def work(ctx: Context, user: Users.Model) -> None:
        if rule.list:
            await WatchLists(ctx.database, user["_id"]).get(rule.list)
        try:
            content = rule.model_dump(mode="json", exclude={"name"})
            await NamedDocuments(ctx.database, RULES, user["_id"]).add(name, content)
        except ConflictError:
            raise StartError(f"the rule {name} exists already; `facend rules remove` removes it") from None

    if name in {one.name for one in command.settings.rules}:
        raise StartError(f"settings.toml has a rule {name}: change it there, or choose another name")
    with_store(command, work)
    click.echo(to_json(rule.model_dump(mode="json")) if command.as_json else f"rule {name} is added")


@rules.command("remove")
@store_options()
@click.argument("name", metavar="NAME")
def remove(command: CommandContext, name: str) -> None:
    """Remove a rule that was added; its matches stay."""

    async def work(ctx: Context, user: Users.Model) -> None:
        if not await NamedDocuments(ctx.database, RULES, user["_id"]).remove(name):
            in_settings = name in {one.name for one in command.settings.rules}
            hint = "remove it from settings.toml" if in_settings else "`facend rules list` lists them"
            raise StartError(f"there is no added rule {name}: {hint}")

    with_store(command, work)
    click.echo(to_json({"removed": name}) if command.as_json else f"rule {name} is removed")


@rules.command("matches")
@store_options()
@click.option("--open", "is_open", is_flag=True, help="Only those that nobody has acknowledged.")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Maximum number."
)
def matches(command: CommandContext, is_open: bool, limit: int) -> None:
    """List the visits that matched a rule in the last 7 days, latest first."""

    async def work(ctx: Context, user: Users.Model) -> list[tuple[EventPayload, str]]:
        builder = MessageBuilder(ctx, user)
        found = await Outbox(ctx.database, user["_id"], ctx.box).matches(limit, unacknowledged=is_open)
        built = [(await builder.build(event), str(event.facts.get("acknowledged_by", ""))) for event in found]
        return [(payload, by) for payload, by in built if payload is not None]

    found = read_rows(command, work)
    if command.as_json:
        rows = [{**payload.model_dump(mode="json"), "acknowledged_by": by or None} for payload, by in found]
        click.echo(to_json(rows))
        return
    head = ("id", "at", "rule", "camera", "person", "acknowledged by")
    lines = [
        (one.id, one.time.astimezone(command.settings.persons.zone), one.rule, one.camera, _person(one), by)
        for one, by in found
    ]
    echo_table([head, *lines])


@rules.command("acknowledge")
@store_options()
@click.argument("match_id", metavar="ID")
def acknowledge(command: CommandContext, match_id: str) -> None:
    """Note that the match with this id was seen, and by whom."""

    async def work(ctx: Context, user: Users.Model) -> None:
        outbox = Outbox(ctx.database, user["_id"], ctx.box)
        if not await outbox.acknowledge(match_id, f"cli {getpass.getuser()}"):
            raise StartError(f"there is no match {match_id}; `facend rules matches` lists them")

    with_store(command, work)
    click.echo(to_json({"acknowledged": match_id}) if command.as_json else f"{match_id} is acknowledged")


def _conditions(rule: RuleSettings) -> str:
    values = rule.model_dump(exclude={"name", "enabled"}, exclude_defaults=True)
    return ", ".join(f"{key} {value}" for key, value in values.items())


def _person(payload: EventPayload) -> str:
    if (person := payload.person) is None:
        return ""
    return f"{person.id} ({person.name})" if person.name else person.id


COMMANDS = (rules,)

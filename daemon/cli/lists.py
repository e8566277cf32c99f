"""`facend lists`: watch lists of persons."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

import click

from daemon.cli.changes import changes_argument, parsed_changes
from daemon.cli.context import CommandContext, store_options
from daemon.cli.groups import CommandGroup
from daemon.cli.output import echo_table, to_json
from daemon.cli.store import read_rows, with_store
from daemon.config.validation import validate_part
from daemon.errors import StartError
from daemon.events.rules.settings import WatchListSettings
from store import ConflictError, Context, NotFoundError, Users
from store.collections.watch_lists import WatchList, WatchLists

persons_argument = click.argument(
    "persons", metavar="PERSON...", nargs=-1, required=True, type=click.IntRange(min=0)
)


@click.group(cls=CommandGroup)
def lists() -> None:
    """Create and drop watch lists, and put persons on them.

    docs/events.md describes what a list can be given.
    """


@lists.command("list")
@store_options()
def list_lists(command: CommandContext) -> None:
    """List the watch lists and their persons."""

    async def work(ctx: Context, user: Users.Model) -> list[tuple[WatchList, list[int]]]:
        lists = WatchLists(ctx.database, user["_id"])
        return [(one, await lists.persons(name)) for name, one in (await lists.all()).items()]

    found = read_rows(command, work)
    if command.as_json:
        click.echo(to_json([{**asdict(one), "persons": persons} for one, persons in found]))
    elif found:
        rows = [(one.name, len(persons), " ".join(map(str, persons)), one.note) for one, persons in found]
        echo_table([("name", "persons", "ids", "note"), *rows])
    else:
        click.echo("there are no watch lists; `facend lists create` creates one")


@lists.command("create")
@store_options()
@click.argument("name", metavar="NAME")
@changes_argument
def create(command: CommandContext, name: str, changes: tuple[str, ...]) -> None:
    """Create a watch list.

    KEY=VALUE: note, colour (#rrggbb), min_confidence, cameras, valid_from, valid_until
    (2026-03-01T00:00:00Z).
    """
    made = validate_part(WatchListSettings, {**parsed_changes(changes), "name": name}, f"list {name}")
    _change(command, lambda lists: lists.create(made.watch_list), f"list {name} is created")


@lists.command("drop")
@store_options()
@click.argument("name", metavar="NAME")
def drop(command: CommandContext, name: str) -> None:
    """Drop a watch list; its persons stay."""
    _change(command, lambda lists: lists.drop(name), f"list {name} is dropped")


@lists.command("add")
@store_options()
@click.argument("name", metavar="NAME")
@persons_argument
def add(command: CommandContext, name: str, persons: tuple[int, ...]) -> None:
    """Put persons on a list, by id."""

    async def work(lists: WatchLists) -> None:
        for person in persons:
            await lists.put_on(name, person)

    _change(command, work, f"list {name}: {len(persons)} added")


@lists.command("remove")
@store_options()
@click.argument("name", metavar="NAME")
@persons_argument
def remove(command: CommandContext, name: str, persons: tuple[int, ...]) -> None:
    """Take persons off a list, by id."""

    async def work(lists: WatchLists) -> None:
        for person in persons:
            await lists.take_off(name, person)

    _change(command, work, f"list {name}: {len(persons)} removed")


def _change(command: CommandContext, change: Callable[[WatchLists], Awaitable[Any]], done: str) -> None:
    async def work(ctx: Context, user: Users.Model) -> None:
        try:
            await change(WatchLists(ctx.database, user["_id"]))
        except (ConflictError, NotFoundError) as error:
            raise StartError(str(error)) from error

    with_store(command, work)
    click.echo(to_json({"done": done}) if command.as_json else done)


COMMANDS = (lists,)

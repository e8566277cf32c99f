"""`facend galleries`: named sets of faces."""

from dataclasses import asdict

import click

from daemon.cli.context import CommandContext, store_options
from daemon.cli.groups import CommandGroup
from daemon.cli.options import yes_option
from daemon.cli.output import echo_table, to_json
from daemon.cli.store import read_rows, read_store, with_store
from daemon.errors import StartError
from daemon.runtime.terminal import count
from store import Context, Users
from store.queries import galleries as queries
from store.queries.galleries import GallerySummary


@click.group(cls=CommandGroup)
def galleries() -> None:
    """List and change galleries, named sets of faces."""


@galleries.command("list")
@store_options()
def list_galleries(command: CommandContext) -> None:
    """List the galleries, with their numbers of faces and persons."""

    found = read_rows(command, queries.list_galleries)
    if command.as_json:
        click.echo(to_json([asdict(one) for one in found]))
    else:
        echo_table([(one.name, count(one.faces, "face"), count(one.persons, "person")) for one in found])


@galleries.command("add")
@store_options()
@click.argument("name")
def add(command: CommandContext, name: str) -> None:
    """Create a gallery; its name has 1 to 48 characters of A-Z a-z 0-9 _ -."""

    async def work(ctx: Context, user: Users.Model) -> GallerySummary:
        await ctx.galleries.add(user, name)
        return await queries.gallery_summary(ctx, user, name)

    made = with_store(command, work)
    click.echo(to_json(asdict(made)) if command.as_json else f"created gallery {name}")


@galleries.command("show")
@store_options()
@click.argument("name")
def show(command: CommandContext, name: str) -> None:
    """Show the numbers of faces and persons in a gallery, and its dates."""

    async def work(ctx: Context, user: Users.Model) -> dict[str, object]:
        summary = await queries.gallery_summary(ctx, user, name)
        return {**asdict(summary), **asdict(await queries.gallery_dates(ctx, user, name))}

    row = read_store(command, work)
    if command.as_json:
        click.echo(to_json(row))
    else:
        echo_table([(key.replace("_", " "), value) for key, value in row.items()])


@galleries.command("drop")
@store_options()
@click.argument("name")
@yes_option
def drop(command: CommandContext, name: str, yes: bool) -> None:
    """Remove a gallery; its faces stay in their other galleries."""

    async def count_faces(ctx: Context, user: Users.Model) -> int:
        return (await queries.gallery_summary(ctx, user, name)).faces

    async def remove(ctx: Context, user: Users.Model) -> None:
        await ctx.galleries.remove_one(user, {"name": name})

    faces = read_store(command, count_faces)
    if not yes:
        if command.as_json:
            raise StartError("--json cannot ask for confirmation: add --yes")
        click.confirm(f"Drop gallery {name}, which contains {count(faces, 'face')}?", abort=True, err=True)
    with_store(command, remove)
    row = {"name": name, "faces": faces, "dropped": True}
    click.echo(to_json(row) if command.as_json else f"dropped gallery {name} ({count(faces, 'face')} kept)")


COMMANDS = (galleries,)

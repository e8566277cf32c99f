"""`facend galleries`: named sets of faces."""

import click

from daemon.cli.context import CommandContext, store_options
from daemon.cli.groups import CommandGroup
from daemon.cli.options import yes_option
from daemon.cli.output import echo_table, to_json
from daemon.cli.store import read_rows, read_store, with_store
from daemon.errors import StartError
from daemon.runtime.terminal import count
from store import Context, Gallery, Users
from store.identity.history import persons_in


@click.group(cls=CommandGroup)
def galleries() -> None:
    """List and change galleries, named sets of faces."""


@galleries.command("list")
@store_options()
def list_galleries(command: CommandContext) -> None:
    """List the galleries, with their numbers of faces and persons."""

    async def work(ctx: Context, user: Users.Model) -> list[dict[str, object]]:
        found = await ctx.galleries.find(user, None, sort=[("name", 1)])
        return [await _row(ctx, user, gallery) for gallery in found]

    rows = read_rows(command, work)
    if command.as_json:
        click.echo(to_json(rows))
    else:
        echo_table(
            [
                (
                    row["name"],
                    count(int(str(row["faces"])), "face"),
                    count(int(str(row["persons"])), "person"),
                )
                for row in rows
            ]
        )


@galleries.command("add")
@store_options()
@click.argument("name")
def add(command: CommandContext, name: str) -> None:
    """Create a gallery; its name has 1 to 48 characters of A-Z a-z 0-9 _ -."""

    async def work(ctx: Context, user: Users.Model) -> dict[str, object]:
        return await _row(ctx, user, await ctx.galleries.add(user, name))

    row = with_store(command, work)
    click.echo(to_json(row) if command.as_json else f"created gallery {name}")


@galleries.command("show")
@store_options()
@click.argument("name")
def show(command: CommandContext, name: str) -> None:
    """Show the numbers of faces and persons in a gallery, and its dates."""

    async def work(ctx: Context, user: Users.Model) -> dict[str, object]:
        row = await _row(ctx, user, await _gallery(ctx, user, name))
        first = await ctx.faces.find_one(user, {"gallery": name}, sort=[("timestamp", 1)])
        last = await ctx.faces.find_one(user, {"gallery": name}, sort=[("timestamp", -1)])
        return {
            **row,
            "first_face": first and first.timestamp,
            "last_face": last and last.timestamp,
        }

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
        await _gallery(ctx, user, name)
        return await ctx.faces.count(user, {"gallery": name})

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


async def _gallery(ctx: Context, user: Users.Model, name: str) -> Gallery:
    found = await ctx.galleries.find_one(user, {"name": name})
    if found is None:
        raise StartError(f"there is no gallery {name}; `facend galleries list` shows all galleries")
    return found


async def _row(ctx: Context, user: Users.Model, gallery: Gallery) -> dict[str, object]:
    return {
        "name": gallery["name"],
        "faces": await ctx.faces.count(user, {"gallery": gallery["name"]}),
        "persons": await persons_in(ctx, user, gallery["name"]),
        "created": gallery["_id"].generation_time,
    }


COMMANDS = (galleries,)

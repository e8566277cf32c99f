"""`facend galleries`: named sets of faces."""

import click

from daemon.cli.store import (
    Asked,
    as_json,
    echo_table,
    read_rows,
    read_store,
    store_options,
    with_store,
    yes_option,
)
from daemon.errors import StartError
from store import Context, Gallery, Users
from store.identity.history import persons_in


@click.group()
def galleries() -> None:
    """Named sets of faces."""


@galleries.command("list")
@store_options()
def list_galleries(asked: Asked) -> None:
    """Every gallery, and how many faces and persons are in it."""

    async def work(ctx: Context, user: Users.Model) -> list[dict[str, object]]:
        found = await ctx.galleries.find(user, None, sort=[("name", 1)])
        return [await _row(ctx, user, gallery) for gallery in found]

    rows = read_rows(asked, work)
    if asked.as_json:
        click.echo(as_json(rows))
    else:
        echo_table([(row["name"], f"{row['faces']} faces", f"{row['persons']} persons") for row in rows])


@galleries.command("add")
@store_options()
@click.argument("name")
def add(asked: Asked, name: str) -> None:
    """Make a gallery: 1 to 48 characters of A-Z a-z 0-9 _ -."""

    async def work(ctx: Context, user: Users.Model) -> dict[str, object]:
        return await _row(ctx, user, await ctx.galleries.add(user, name))

    row = with_store(asked, work)
    click.echo(as_json(row) if asked.as_json else f"made the gallery {name}")


@galleries.command("show")
@store_options()
@click.argument("name")
def show(asked: Asked, name: str) -> None:
    """How many faces and persons are in a gallery, and since when."""

    async def work(ctx: Context, user: Users.Model) -> dict[str, object]:
        row = await _row(ctx, user, await _gallery(ctx, user, name))
        first = await ctx.faces.find_one(user, {"gallery": name}, sort=[("timestamp", 1)])
        last = await ctx.faces.find_one(user, {"gallery": name}, sort=[("timestamp", -1)])
        return {
            **row,
            "first_face": first and first.timestamp,
            "last_face": last and last.timestamp,
        }

    row = read_store(asked, work)
    if asked.as_json:
        click.echo(as_json(row))
    else:
        echo_table([(key.replace("_", " "), value) for key, value in row.items()])


@galleries.command("drop")
@store_options()
@click.argument("name")
@yes_option
def drop(asked: Asked, name: str, yes: bool) -> None:
    """Remove a gallery; its faces stay, in their other galleries."""

    async def count(ctx: Context, user: Users.Model) -> int:
        await _gallery(ctx, user, name)
        return await ctx.faces.count(user, {"gallery": name})

    async def remove(ctx: Context, user: Users.Model) -> None:
        await ctx.galleries.remove_one(user, {"name": name})

    faces = read_store(asked, count)
    if not yes:
        if asked.as_json:
            raise StartError("with --json nobody is asked: say --yes")
        click.confirm(f"Drop the gallery {name}, with {faces} faces in it?", abort=True, err=True)
    with_store(asked, remove)
    row = {"name": name, "faces": faces, "dropped": True}
    click.echo(as_json(row) if asked.as_json else f"dropped the gallery {name}; its {faces} faces stay")


async def _gallery(ctx: Context, user: Users.Model, name: str) -> Gallery:
    found = await ctx.galleries.find_one(user, {"name": name})
    if found is None:
        raise StartError(f"there is no gallery {name}; `facend galleries list` shows all")
    return found


async def _row(ctx: Context, user: Users.Model, gallery: Gallery) -> dict[str, object]:
    return {
        "name": gallery["name"],
        "faces": await ctx.faces.count(user, {"gallery": gallery["name"]}),
        "persons": await persons_in(ctx, user, gallery["name"]),
        "created": gallery["_id"].generation_time,
    }


COMMANDS = (galleries,)

"""`facend galleries`: named sets of faces."""

import click

from daemon.cli_store import Asked, as_json, echo_table, store_options, with_store, yes_option
from daemon.errors import StartError
from store import Context, Gallery, Users


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

    rows = with_store(asked, work)
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
            "first_face": first and first.get("timestamp"),
            "last_face": last and last.get("timestamp"),
        }

    row = with_store(asked, work)
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

    async def work(ctx: Context, user: Users.Model) -> int:
        await _gallery(ctx, user, name)
        faces = await ctx.faces.count(user, {"gallery": name})
        if not yes:
            click.confirm(f"Drop the gallery {name}, with {faces} faces in it?", abort=True, err=True)
        await ctx.galleries.remove_one(user, {"name": name})
        return faces

    faces = with_store(asked, work)
    row = {"name": name, "faces": faces, "dropped": True}
    click.echo(as_json(row) if asked.as_json else f"dropped the gallery {name}; its {faces} faces stay")


async def _gallery(ctx: Context, user: Users.Model, name: str) -> Gallery:
    found = await ctx.galleries.find_one(user, {"name": name})
    if found is None:
        raise StartError(f"there is no gallery {name}; `facend galleries list` shows all")
    return found


async def _row(ctx: Context, user: Users.Model, gallery: Gallery) -> dict[str, object]:
    here = {"owner": user["_id"], "gallery": gallery["name"], "person_id": {"$ne": None}}
    grouped = ctx.database["faces"].aggregate(
        [{"$match": here}, {"$group": {"_id": "$person_id"}}, {"$count": "persons"}]
    )
    counted = await grouped.to_list(1)
    return {
        "name": gallery["name"],
        "faces": await ctx.faces.count(user, {"gallery": gallery["name"]}),
        "persons": counted[0]["persons"] if counted else 0,
        "created": gallery["_id"].generation_time,
    }


COMMANDS = (galleries,)

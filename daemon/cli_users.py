"""`facend users`: who may ask."""

import click

from daemon.cli_store import (
    Asked,
    NothingStoredError,
    as_json,
    echo_table,
    find_user,
    known_user,
    read_all,
    store_options,
    with_store,
    yes_option,
)
from daemon.errors import StartError
from store import Context, Users

TELLING = 4
"""So many characters of a token tell one from another, and nobody in."""


@click.group()
def users() -> None:
    """Those who own faces and may ask for them."""


@users.command("add")
@store_options(user=False)
@click.option("--name", default=None, help="For people.")
def add(asked: Asked, name: str | None) -> None:
    """Make a user and print the token: this once, it is shown nowhere else."""

    async def work(ctx: Context, _: Users.Model) -> Users.Model:
        return await ctx.users.add({"name": name} if name else {})

    made = with_store(asked, work)
    if asked.as_json:
        click.echo(as_json({"id": made["_id"], "name": name, "token": made["token"]}))
    else:
        click.echo(f"id     {made['_id']}\ntoken  {made['token']}")


@users.command("list")
@store_options(user=False)
def list_users(asked: Asked) -> None:
    """Every user, tokens masked."""

    async def work(ctx: Context) -> list[dict[str, object]]:
        mine = await known_user(ctx, asked.settings)
        return [_row(user, mine=user == mine) for user in await ctx.users.find(None, sort=[("_id", 1)])]

    try:
        rows = read_all(asked, work)
    except NothingStoredError:
        rows = []
    if asked.as_json:
        click.echo(as_json(rows))
        return
    echo_table(
        [
            (
                row["id"],
                row["token"],
                "active" if row["active"] else "disabled",
                f"{row['name'] or ''}{'  (this box)' if row['this_box'] else ''}",
            )
            for row in rows
        ]
    )


@users.command()
@store_options(user=False)
@click.argument("token_or_id")
@yes_option
def disable(asked: Asked, token_or_id: str, yes: bool) -> None:
    """Refuse everything that this user asks; what is theirs stays."""

    async def work(ctx: Context, mine: Users.Model) -> Users.Model:
        user = await find_user(ctx, token_or_id)
        if user["_id"] == mine["_id"] and not yes:
            raise StartError(
                "this box stores in this user's name and could not any more; say --yes if you mean it"
            )
        return await _set_active(ctx, user, active=False)

    _tell(asked, with_store(asked, work))


@users.command()
@store_options(user=False)
@click.argument("token_or_id")
def enable(asked: Asked, token_or_id: str) -> None:
    """Let a disabled user ask again."""

    async def work(ctx: Context, _: Users.Model) -> Users.Model:
        return await _set_active(ctx, await find_user(ctx, token_or_id), active=True)

    _tell(asked, with_store(asked, work))


async def _set_active(ctx: Context, user: Users.Model, *, active: bool) -> Users.Model:
    changed = await ctx.users.update_one({"_id": user["_id"]}, {"$set": {"active": active}})
    if changed is None:
        raise StartError(f"the user {user['_id']} has just been removed")
    return changed


def _tell(asked: Asked, user: Users.Model) -> None:
    if asked.as_json:
        click.echo(as_json(_row(user)))
    else:
        click.echo(f"the user {user['_id']} is {'active' if user['active'] else 'disabled'}")


def _row(user: Users.Model, *, mine: bool | None = None) -> dict[str, object]:
    row: dict[str, object] = {
        "id": user["_id"],
        "token": masked(str(user["token"])),
        "active": user["active"],
        "name": user.get("name"),
    }
    return row if mine is None else {**row, "this_box": mine}


def masked(token: str) -> str:
    """Enough of a token to tell it from others; of a short one nothing."""
    return f"{token[:TELLING]}***" if len(token) >= 4 * TELLING else "***"


COMMANDS = (users,)

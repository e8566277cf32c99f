"""`facend users`: who may ask."""

import os
from pathlib import Path
from typing import TextIO

import click

from daemon.cli import secrets as cli_secrets
from daemon.cli.secrets import token_file_option
from daemon.cli.store import (
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
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the token into this new file, which only you can read, instead of printing it.",
)
def add(asked: Asked, name: str | None, token_file: Path | None) -> None:
    """Make a user and print the token: this once, it is shown nowhere else."""
    target = None if token_file is None else _created(token_file)

    async def work(ctx: Context, _: Users.Model) -> Users.Model:
        return await ctx.users.add({"name": name} if name else {})

    try:
        made = with_store(asked, work)
    except BaseException:
        if token_file is not None:
            token_file.unlink(missing_ok=True)
        raise
    if target is not None:
        with target:
            target.write(f"{made['token']}\n")
    shown = {"token": made["token"]} if target is None else {"token_file": str(token_file)}
    if asked.as_json:
        click.echo(as_json({"id": made["_id"], "name": name, **shown}))
    else:
        click.echo(f"id     {made['_id']}")
        click.echo(f"token  {made['token']}" if target is None else f"token  in {token_file}")


def _created(path: Path) -> TextIO:
    """A new file for the owner alone."""
    try:
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii")
    except OSError as error:
        raise StartError(f"--token-file {path}: cannot be made ({error.strerror})") from error


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
@click.argument("token_or_id", metavar="[ID]", default="")
@token_file_option
@yes_option
def disable(asked: Asked, token_or_id: str, user_token_file: Path | None, yes: bool) -> None:
    """Refuse everything that this user asks; what is theirs stays."""
    token_or_id = _named(token_or_id, user_token_file)

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
@click.argument("token_or_id", metavar="[ID]", default="")
@token_file_option
def enable(asked: Asked, token_or_id: str, user_token_file: Path | None) -> None:
    """Let a disabled user ask again."""
    token_or_id = _named(token_or_id, user_token_file)

    async def work(ctx: Context, _: Users.Model) -> Users.Model:
        return await _set_active(ctx, await find_user(ctx, token_or_id), active=True)

    _tell(asked, with_store(asked, work))


def _named(token_or_id: str, token_file: Path | None) -> str:
    named = cli_secrets.token(token_or_id, token_file, instead="give the id, or --token-file")
    if not named:
        raise click.UsageError("name the user: by id, as in `facend users list`, or by --token-file")
    return named


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

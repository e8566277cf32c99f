"""`facend users`: users, who own faces and authenticate with a token."""

import os
from pathlib import Path
from typing import TextIO

import click

from daemon.cli import secrets as cli_secrets
from daemon.cli.context import CommandContext, store_options
from daemon.cli.groups import CommandGroup
from daemon.cli.options import token_file_option, yes_option
from daemon.cli.output import echo_table, to_json
from daemon.cli.store import NothingStoredError, find_user, known_user, read_all, with_store
from daemon.errors import StartError
from store import Context, Users

SHOWN_CHARACTERS = 4
"""Number of shown characters of a token: enough to distinguish tokens, too few to use one."""


@click.group(cls=CommandGroup)
def users() -> None:
    """List, add, disable and enable users.

    A user owns faces and authenticates with a token.
    """


@users.command("add")
@store_options(user=False)
@click.option("--name", default=None, help="Name shown in `facend users list`.")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the token to this new file, readable by you alone, instead of printing it.",
)
def add(command: CommandContext, name: str | None, token_file: Path | None) -> None:
    """Add a user and print the token, which is not shown again."""
    target = None if token_file is None else create_private_file(token_file)

    async def work(ctx: Context, _: Users.Model) -> Users.Model:
        return await ctx.users.add({"name": name} if name else {})

    try:
        made = with_store(command, work)
    except BaseException:
        if token_file is not None:
            token_file.unlink(missing_ok=True)
        raise
    if target is not None:
        with target:
            target.write(f"{made['token']}\n")
    shown = {"token": made["token"]} if target is None else {"token_file": str(token_file)}
    if command.as_json:
        click.echo(to_json({"id": made["_id"], "name": name, **shown}))
    else:
        click.echo(f"id     {made['_id']}")
        click.echo(f"token  {made['token']}" if target is None else f"token  in {token_file}")


def create_private_file(path: Path) -> TextIO:
    """Create a file that only its owner can read."""
    try:
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii")
    except OSError as error:
        raise StartError(f"--token-file {path}: cannot be created ({error.strerror})") from error


@users.command("list")
@store_options(user=False)
def list_users(command: CommandContext) -> None:
    """List all users, with masked tokens."""

    async def work(ctx: Context) -> list[dict[str, object]]:
        mine = await known_user(ctx, command.settings)
        return [_row(user, mine=user == mine) for user in await ctx.users.find(None, sort=[("_id", 1)])]

    try:
        rows = read_all(command, work)
    except NothingStoredError:
        rows = []
    if command.as_json:
        click.echo(to_json(rows))
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
def disable(command: CommandContext, token_or_id: str, user_token_file: Path | None, yes: bool) -> None:
    """Refuse a user's requests; the user's data stays."""
    token_or_id = _required(token_or_id, user_token_file)

    async def work(ctx: Context, mine: Users.Model) -> Users.Model:
        user = await find_user(ctx, token_or_id)
        if user["_id"] == mine["_id"] and not yes:
            raise StartError(
                "this box stores its visits as this user, and would stop storing them; confirm with --yes"
            )
        return await _set_active(ctx, user, active=False)

    _echo_user(command, with_store(command, work))


@users.command()
@store_options(user=False)
@click.argument("token_or_id", metavar="[ID]", default="")
@token_file_option
def enable(command: CommandContext, token_or_id: str, user_token_file: Path | None) -> None:
    """Enable a disabled user again."""
    token_or_id = _required(token_or_id, user_token_file)

    async def work(ctx: Context, _: Users.Model) -> Users.Model:
        return await _set_active(ctx, await find_user(ctx, token_or_id), active=True)

    _echo_user(command, with_store(command, work))


def _required(token_or_id: str, token_file: Path | None) -> str:
    given = cli_secrets.token(token_or_id, token_file, instead="use the id or --token-file")
    if not given:
        raise click.UsageError("which user? Give the id, see `facend users list`, or --token-file")
    return given


async def _set_active(ctx: Context, user: Users.Model, *, active: bool) -> Users.Model:
    changed = await ctx.users.update_one({"_id": user["_id"]}, {"$set": {"active": active}})
    if changed is None:
        raise StartError(f"user {user['_id']} has just been removed")
    return changed


def _echo_user(command: CommandContext, user: Users.Model) -> None:
    if command.as_json:
        click.echo(to_json(_row(user)))
    else:
        click.echo(f"user {user['_id']} is {'active' if user['active'] else 'disabled'}")


def _row(user: Users.Model, *, mine: bool | None = None) -> dict[str, object]:
    row: dict[str, object] = {
        "id": user["_id"],
        "token": masked(str(user["token"])),
        "active": user["active"],
        "name": user.get("name"),
    }
    return row if mine is None else {**row, "this_box": mine}


def masked(token: str) -> str:
    """The first characters of a token; none of a short one."""
    return f"{token[:SHOWN_CHARACTERS]}***" if len(token) >= 4 * SHOWN_CHARACTERS else "***"


COMMANDS = (users,)

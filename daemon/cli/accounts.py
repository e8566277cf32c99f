"""`facend accounts` and `facend tokens`: access to the HTTP API and the console."""

import getpass
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import click

from daemon.cli import secrets as cli_secrets
from daemon.cli.context import CommandContext, store_options
from daemon.cli.groups import CommandGroup
from daemon.cli.options import yes_option
from daemon.cli.output import echo_table, to_json
from daemon.cli.store import read_rows, with_store
from daemon.cli.users import create_private_file
from store import Context, Users
from store.accounts.accounts import Account, Accounts
from store.accounts.audit import AuditLog
from store.accounts.credentials import ApiToken, ApiTokens, close_sessions
from store.accounts.roles import Principal, Role

T = TypeVar("T")

role_option = click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    required=True,
    help="admin: everything; operator: see and change persons; viewer: see; auditor: the audit log.",
)
camera_option = click.option(
    "--camera",
    "cameras",
    multiple=True,
    metavar="ID",
    help="A viewer sees only this camera. May be repeated.",
)
name_argument = click.argument("name")


@click.group(cls=CommandGroup)
def accounts() -> None:
    """List and change the accounts of people who sign in.

    Accounts act on the data of this box's user, with the rights of their role.
    """


@accounts.command("list")
@store_options(user=False)
def list_accounts(command: CommandContext) -> None:
    """List all accounts, with role and cameras."""

    async def work(ctx: Context, user: Users.Model) -> list[Account]:
        return await Accounts(ctx.database, user["_id"]).find()

    rows = read_rows(command, work)
    if command.as_json:
        click.echo(to_json([_fields(one) for one in rows]))
        return
    echo_table([("name", "role", "cameras", "state"), *(_row(one) for one in rows)])


@accounts.command("add")
@store_options(user=False, as_json=False)
@name_argument
@role_option
@camera_option
def add(command: CommandContext, name: str, role: str, cameras: tuple[str, ...]) -> None:
    """Add an account; the password comes from a prompt or standard input."""
    password = cli_secrets.read("password")

    async def work(ctx: Context, owner: Users.Model, audit: Audit) -> Account:
        added = await Accounts(ctx.database, owner["_id"]).add(name, Role(role), cameras or None, password)
        await audit("user.add", f"user/{added.name}", role=role)
        return added

    added = _change_with_audit(command, work)
    click.echo(f"account {added.name} is added")


@accounts.command("password")
@store_options(user=False, as_json=False)
@name_argument
def password(command: CommandContext, name: str) -> None:
    """Set a new password, from a prompt or standard input, and end all sessions."""
    new = cli_secrets.read("new password")

    async def work(ctx: Context, owner: Users.Model, audit: Audit) -> Account:
        changed = await Accounts(ctx.database, owner["_id"]).change(name, password=new)
        await close_sessions(ctx.database, changed)
        await audit("user.change", f"user/{changed.name}", fields="password")
        return changed

    click.echo(f"the password of {_change_with_audit(command, work).name} is changed")


@accounts.command("remove")
@store_options(user=False, as_json=False)
@name_argument
@yes_option
def remove(command: CommandContext, name: str, yes: bool) -> None:
    """Remove an account and end its sessions."""
    if not yes:
        click.confirm(f"Remove the account {name}?", abort=True)

    async def work(ctx: Context, owner: Users.Model, audit: Audit) -> Account:
        removed = await Accounts(ctx.database, owner["_id"]).remove(name)
        await close_sessions(ctx.database, removed)
        await audit("user.remove", f"user/{removed.name}")
        return removed

    click.echo(f"account {_change_with_audit(command, work).name} is removed")


@click.group(cls=CommandGroup)
def tokens() -> None:
    """List, issue and revoke API tokens for programs."""


@tokens.command("list")
@store_options(user=False)
def list_tokens(command: CommandContext) -> None:
    """List all API tokens, with role, expiry and last use; never their text."""

    async def work(ctx: Context, user: Users.Model) -> list[ApiToken]:
        return await ApiTokens(ctx.database, user["_id"]).find()

    rows = read_rows(command, work)
    if command.as_json:
        click.echo(to_json([_fields(one) for one in rows]))
        return
    titles = ("name", "role", "cameras", "expires", "last used")
    cells = [(one.name, one.role.value, _cameras(one), one.expires or "never", one.last_used) for one in rows]
    echo_table([titles, *cells], command.settings.persons.zone)


@tokens.command("add")
@store_options(user=False, as_json=False)
@name_argument
@role_option
@camera_option
@click.option(
    "--days", type=click.IntRange(0, 3650), default=365, help="Lifetime; 0: no expiry. Default: 365."
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the token to this new file, readable by you alone, instead of printing it.",
)
def add_token(
    command: CommandContext,
    name: str,
    role: str,
    cameras: tuple[str, ...],
    days: int,
    token_file: Path | None,
) -> None:
    """Issue an API token and print it; it is not shown again."""
    target = None if token_file is None else create_private_file(token_file)

    async def work(ctx: Context, owner: Users.Model, audit: Audit) -> str:
        lifetime = timedelta(days=days) if days else None
        text, token = await ApiTokens(ctx.database, owner["_id"]).add(
            name, Role(role), cameras or None, lifetime
        )
        await audit("token.add", f"token/{token.name}", role=role)
        return text

    try:
        text = _change_with_audit(command, work)
    except BaseException:
        if token_file is not None:
            token_file.unlink(missing_ok=True)
        raise
    if target is None:
        click.echo(text)
    else:
        with target:
            target.write(f"{text}\n")


@tokens.command("revoke")
@store_options(user=False, as_json=False)
@name_argument
def revoke(command: CommandContext, name: str) -> None:
    """Revoke an API token at once."""

    async def work(ctx: Context, owner: Users.Model, audit: Audit) -> None:
        await ApiTokens(ctx.database, owner["_id"]).revoke(name)
        await audit("token.revoke", f"token/{name}")

    _change_with_audit(command, work)
    click.echo(f"token {name} is revoked")


class Audit:
    """Adds entries to the audit log in the name of the operating-system user who runs the command."""

    def __init__(self, ctx: Context, owner: Users.Model) -> None:
        self._log = AuditLog(ctx.database, owner["_id"])
        self._principal = Principal(owner["_id"], f"cli {getpass.getuser()}", Role.ADMIN)

    async def __call__(self, action: str, object_name: str, **details: str) -> None:
        await self._log.record(self._principal, action, object_name, **details)


def _change_with_audit(
    command: CommandContext, work: Callable[[Context, Users.Model, Audit], Awaitable[T]]
) -> T:
    async def audited(ctx: Context, owner: Users.Model) -> T:
        return await work(ctx, owner, Audit(ctx, owner))

    return with_store(command, audited)


def _fields(one: Account | ApiToken) -> dict[str, Any]:
    hidden = ("id", "owner")
    fields = {key: value for key, value in asdict(one).items() if key not in hidden}
    return {**fields, "cameras": None if one.cameras is None else sorted(one.cameras)}


def _row(account: Account) -> tuple[object, ...]:
    return account.name, account.role.value, _cameras(account), "active" if account.active else "disabled"


def _cameras(one: Account | ApiToken) -> str:
    return "all" if one.cameras is None else ", ".join(sorted(one.cameras))


COMMANDS = (accounts, tokens)

"""Accounts, their credentials and the audit log, on a real MongoDB."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from bson import ObjectId

from store.accounts.accounts import Accounts
from store.accounts.audit import AuditLog
from store.accounts.credentials import (
    SESSION_MAX,
    TOUCH_INTERVAL,
    ApiTokens,
    close_session,
    close_sessions,
    open_session,
    principal_of_session,
    principal_of_token,
)
from store.accounts.roles import Permission, Principal, Role
from store.context import Context
from store.errors import AuthenticationError, BadValueError, ConflictError, NotFoundError

OWNER, OTHER = ObjectId(), ObjectId()
PASSWORD = "correct horse battery"  # noqa: S105  of accounts in a test


async def test_an_account_signs_in_with_its_password(ctx: Context) -> None:
    """By name in any case; not with another password, another owner's accounts, or when disabled."""
    accounts = Accounts(ctx.database, OWNER)
    await accounts.add("Anna", Role.ADMIN, password=PASSWORD)
    await accounts.add("boss", Role.ADMIN, password=PASSWORD)
    assert (await accounts.verify("anna", PASSWORD)).principal == Principal(OWNER, "user Anna", Role.ADMIN)
    await accounts.change("ANNA", active=False)
    refused = [
        accounts.verify("Anna", PASSWORD),
        accounts.verify("boss", "correct horse batterz"),
        accounts.verify("nobody", PASSWORD),
        Accounts(ctx.database, OTHER).verify("boss", PASSWORD),
    ]
    for attempt in refused:
        with pytest.raises(AuthenticationError, match="name or password is wrong"):
            await attempt
    stored = await ctx.database["accounts"].find_one({"key": "anna"})
    assert PASSWORD not in str(stored) and stored["password"].startswith("$argon2id$")


async def test_names_are_unique_and_arguments_checked(ctx: Context) -> None:
    """For each owner; a malformed argument is named."""
    accounts = Accounts(ctx.database, OWNER)
    await accounts.add("anna", Role.VIEWER, ["door"])
    await Accounts(ctx.database, OTHER).add("anna", Role.ADMIN)
    with pytest.raises(ConflictError, match="there is a user ANNA"):
        await accounts.add("ANNA", Role.ADMIN)
    for name, role, cameras, password in (
        ("", Role.ADMIN, None, None),
        ("a b", Role.ADMIN, None, None),
        ("bo", Role.ADMIN, ["door"], None),
        ("bo", Role.VIEWER, ["no door"], None),
        ("bo", Role.ADMIN, None, "short"),
    ):
        with pytest.raises(BadValueError):
            await accounts.add(name, role, cameras, password)
    assert [account.name for account in await accounts.find()] == ["anna"]


async def test_the_last_administrator_stays(ctx: Context) -> None:
    """Neither removed, nor disabled, nor given another role, until there is a second one."""
    accounts = Accounts(ctx.database, OWNER)
    await accounts.add("anna", Role.ADMIN)
    await accounts.add("eve", Role.ADMIN)
    await accounts.change("eve", active=False)
    for attempt in (
        accounts.remove("anna"),
        accounts.change("anna", active=False),
        accounts.change("anna", role=Role.VIEWER),
    ):
        with pytest.raises(ConflictError, match="last active administrator"):
            await attempt
    await accounts.change("eve", active=True)
    changed = await accounts.change("anna", role=Role.VIEWER, cameras=["door"])
    assert (changed.role, changed.cameras) == (Role.VIEWER, frozenset({"door"}))
    with pytest.raises(BadValueError, match="sees all cameras"):
        await accounts.change("anna", role=Role.OPERATOR)
    assert (await accounts.change("anna", role=Role.OPERATOR, all_cameras=True)).cameras is None
    await accounts.remove("anna")
    with pytest.raises(NotFoundError):
        await accounts.get("anna")


async def test_a_token_is_known_until_it_expires_or_is_revoked(ctx: Context) -> None:
    """Only its digest is stored, and its last use."""
    tokens = ApiTokens(ctx.database, OWNER)
    text, token = await tokens.add("ci", Role.VIEWER, ["door"])
    assert await principal_of_token(ctx.database, text) == Principal(
        OWNER, "token ci", Role.VIEWER, frozenset({"door"})
    )
    assert await principal_of_token(ctx.database, text[:-1]) is None
    assert text not in str(await ctx.database["api_tokens"].find().to_list(None))
    assert (await tokens.find())[0].last_used is not None
    brief, _ = await tokens.add("brief", Role.ADMIN, lifetime=timedelta(seconds=0.2))
    assert await principal_of_token(ctx.database, brief) is not None
    await asyncio.sleep(0.3)
    assert await principal_of_token(ctx.database, brief) is None
    with pytest.raises(ConflictError):
        await tokens.add("ci", Role.ADMIN)
    with pytest.raises(NotFoundError):
        await ApiTokens(ctx.database, OTHER).revoke("ci")
    await tokens.revoke("ci")
    assert await principal_of_token(ctx.database, text) is None
    assert token.expires is not None and token.expires > datetime.now(UTC) + timedelta(days=364)


async def test_a_session_ends(ctx: Context) -> None:
    """With the account, with a sign-out, with time; its use extends it up to a limit."""
    accounts = Accounts(ctx.database, OWNER)
    anna = await accounts.add("anna", Role.OPERATOR)
    text = await open_session(ctx.database, anna, "192.0.2.1")
    assert await principal_of_session(ctx.database, text) == anna.principal
    long_ago = datetime.now(UTC) - SESSION_MAX + timedelta(minutes=1)
    used = datetime.now(UTC) - 2 * TOUCH_INTERVAL
    await ctx.database["sessions"].update_one({}, {"$set": {"created": long_ago, "used": used}})
    assert await principal_of_session(ctx.database, text) is not None
    stored = await ctx.database["sessions"].find_one({})
    assert stored["expires"].astimezone(UTC) < datetime.now(UTC) + timedelta(minutes=2)
    await accounts.change("anna", active=False)
    assert await principal_of_session(ctx.database, text) is None
    await accounts.change("anna", active=True)
    await close_session(ctx.database, text)
    assert await principal_of_session(ctx.database, text) is None
    await open_session(ctx.database, anna, "192.0.2.1")
    assert await close_sessions(ctx.database, anna) == 1


async def test_the_look_up_of_a_credential_uses_an_index(ctx: Context) -> None:
    """Known or not: one document at most is read."""
    for name in ("api_tokens", "sessions"):
        plan = await ctx.database[name].find({"digest": "0" * 64}).explain()
        assert "COLLSCAN" not in str(plan["queryPlanner"]["winningPlan"])


async def test_the_audit_log_is_read_from_its_end(ctx: Context) -> None:
    """Page by page, by object and by actor; old entries are removed."""
    log = AuditLog(ctx.database, OWNER)
    anna = Principal(OWNER, "user anna", Role.ADMIN)
    for number in range(5):
        await log.record(anna, "person.rename", f"person/{number % 2}", "192.0.2.1", fields=1)
    first = await log.find(limit=2)
    rest = await log.find(limit=9, before=first[-1].id)
    assert [entry.object for entry in first + rest] == ["person/0", "person/1"] * 2 + ["person/0"]
    assert first[0].details == {"fields": 1} and first[0].by == "user anna"
    assert len(await log.find(limit=9, object_name="person/1")) == 2
    assert await log.find(limit=9, by="user eve") == []
    assert await AuditLog(ctx.database, OTHER).find(limit=9) == []
    assert await log.prune(timedelta(hours=1)) == 0
    await asyncio.sleep(0.05)
    assert await log.prune(timedelta(milliseconds=10)) == 5


def test_roles_permit_what_they_say() -> None:
    """A viewer only sees, an auditor only audits."""
    assert Role.VIEWER.permissions == {Permission.SEE}
    assert Role.AUDITOR.permissions == {Permission.AUDIT}
    assert Role.ADMIN.permissions == set(Permission)
    viewer = Principal(OWNER, "user v", Role.VIEWER, frozenset({"door"}))
    assert viewer.sees("door") and not viewer.sees("yard") and not viewer.sees(None)

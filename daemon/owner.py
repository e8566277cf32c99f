"""The user in whose name this daemon stores what it sees."""

import secrets
from pathlib import Path

from store import Context, Users


async def owner(ctx: Context, token: str, data_dir: Path) -> Users.Model:
    """The user with this token, made on first use.

    Without a token in the settings one is drawn once and kept in the data folder, so
    that the same user is found again after a restart.
    """
    token = token or _own_token(data_dir / "token")
    known = await ctx.users.find_one({"token": token})
    return known or await ctx.users.add({"token": token, "active": True})


def _own_token(path: Path) -> str:
    if path.exists():
        return path.read_text(encoding="ascii").strip()
    token = secrets.token_urlsafe(32)
    path.touch(mode=0o600)
    path.write_text(token + "\n", encoding="ascii")
    return token

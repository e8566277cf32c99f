"""The user in whose name this daemon stores what it sees."""

import secrets
from pathlib import Path

from daemon.errors import StartError
from pipeline.redaction import KNOWN
from store import ConflictError, Context, Users
from store.files import write_durably


async def owner(ctx: Context, token: str, data_dir: Path) -> Users.Model:
    """The user with this token, made on first use.

    Without a token in the settings one is drawn once and kept in the data folder, so
    that the same user is found again after a restart.
    """
    token = token or own_token(data_dir / "token")
    KNOWN.add(token)
    if (known := await ctx.users.find_one({"token": token})) is not None:
        return known
    try:
        return await ctx.users.add({"token": token, "active": True})
    except ConflictError:
        if (known := await ctx.users.find_one({"token": token})) is None:
            raise
        return known  # another box with this token was faster


def own_token(path: Path) -> str:
    """Written whole or not at all: with half of it the box would be another user after a power cut."""
    try:
        if path.exists():
            if token := path.read_text(encoding="ascii").strip():
                return token
            raise StartError(f"{path} is empty; put the token of this box's user there, or remove the file")
        token = secrets.token_urlsafe(32)
        write_durably(path, f"{token}\n".encode())
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(f"{path}: the token of this box's user cannot be kept there ({error})") from error
    return token

"""The service user, who owns the data that this box stores."""

import secrets
from pathlib import Path

from daemon.errors import StartError
from pipeline.base.files import read_regular, write_durably
from pipeline.base.redaction import KNOWN
from store import ConflictError, Context, Users


async def known_service_user(ctx: Context, token: str, data_dir: Path) -> Users.Model | None:
    """The user with this token; None if there is no such user yet. Default: the token in the data folder."""
    token = token or read_token(data_dir / "token")
    if not token:
        return None
    KNOWN.add(token)
    return await ctx.users.find_one({"token": token})


async def service_user(ctx: Context, token: str, data_dir: Path) -> Users.Model:
    """The user with this token, created on first use.

    Without a token in the settings, one is generated and kept in the data folder.

    Raises:
        StartError: the token file cannot be read or written.
        StoreError: MongoDB does not answer.
    """
    token = token or read_or_create_token(data_dir / "token")
    KNOWN.add(token)
    if (known := await ctx.users.find_one({"token": token})) is not None:
        return known
    try:
        return await ctx.users.add({"token": token, "active": True})
    except ConflictError:
        if (known := await ctx.users.find_one({"token": token})) is None:
            raise
        return known  # another box with this token created it first


def read_or_create_token(path: Path) -> str:
    """The token in the file, generated on first use."""
    if token := read_token(path):
        return token
    try:
        token = secrets.token_urlsafe(32)
        write_durably(path, f"{token}\n".encode())
    except OSError as error:
        raise StartError(f"{path}: the token of this box's user cannot be kept there ({error})") from error
    return token


def read_token(path: Path) -> str:
    """The token in the file; empty if there is no file.

    Raises:
        StartError: the file is empty or cannot be read.
    """
    try:
        token = read_regular(path).decode("ascii").strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(f"{path}: the token of this box's user cannot be read there ({error})") from error
    if not token:
        raise StartError(f"{path} is empty; put the token of this box's user there, or remove the file")
    return token

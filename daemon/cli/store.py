"""Opens the store for a command, with its own private MongoDB or that of the running daemon."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import TypeVar

from bson import ObjectId

from daemon.cli.context import CommandContext
from daemon.config.service_user import known_service_user, service_user
from daemon.config.settings import Settings
from daemon.config.store_context import open_context
from daemon.errors import StartError
from daemon.runtime import data_folder
from store import Context, StoreError, Users
from store.collections.extraction import PictureExtractor

T = TypeVar("T")


class NothingStoredError(StartError):
    """There is no database, or this box's user is not in it."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(
            f"nothing is stored yet in data_dir {settings.data_dir}: `facend run` creates the database and "
            "this box's user"
        )


def with_store(
    command: CommandContext,
    work: Callable[[Context, Users.Model], Awaitable[T]],
    extractor: PictureExtractor | None = None,
    facen_size: int | None = None,
    *,
    pack: str | None = None,
    load_facens: bool = False,
) -> T:
    """Run `work` on the open store as the command's user.

    Raises:
        StartError: the store cannot be opened, or an operation on it failed.
    """
    data_folder.prepare(command.settings.data_dir)

    async def opened() -> T:
        async with open_context(
            command.settings, extractor=extractor, facen_size=facen_size, pack=pack, load_facens=load_facens
        ) as ctx:
            return await work(ctx, await _user(ctx, command))

    return _run(opened())


def read_store(command: CommandContext, work: Callable[[Context, Users.Model], Awaitable[T]]) -> T:
    """As `with_store`, but changes nothing in MongoDB and creates no file.

    Raises:
        NothingStoredError: there is no database yet, or this box's user is not in it.
    """

    async def with_user(ctx: Context) -> T:
        user = await (find_user(ctx, command.user) if command.user else known_user(ctx, command.settings))
        if user is None:
            raise NothingStoredError(command.settings)
        return await work(ctx, user)

    return read_all(command, with_user)


def read_rows(command: CommandContext, work: Callable[[Context, Users.Model], Awaitable[list[T]]]) -> list[T]:
    """As `read_store`; an empty list if nothing is stored yet."""
    try:
        return read_store(command, work)
    except NothingStoredError:
        return []


def read_all(
    command: CommandContext,
    work: Callable[[Context], Awaitable[T]],
    facen_size: int | None = None,
    *,
    pack: str | None = None,
    load_facens: bool = False,
) -> T:
    """As `read_store`, without a user.

    Raises:
        NothingStoredError: there is no database yet.
    """
    settings = command.settings
    if not Context.exists(settings.store, settings.data_dir):
        raise NothingStoredError(settings)

    async def opened() -> T:
        async with open_context(
            settings, facen_size=facen_size, pack=pack, load_facens=load_facens, read_only=True
        ) as ctx:
            return await work(ctx)

    return _run(opened())


def _run(work: Coroutine[None, None, T]) -> T:
    try:
        return asyncio.run(work)
    except StoreError as error:
        raise StartError(f"store: {error}") from error


async def find_user(ctx: Context, token_or_id: str) -> Users.Model:
    """The user with this token or id, active or not.

    Raises:
        StartError: there is no such user.
    """
    query = {"_id": ObjectId(token_or_id)} if ObjectId.is_valid(token_or_id) else {"token": token_or_id}
    found = await ctx.users.find_one(query)
    if found is None:
        raise StartError("there is no user with this token or id; `facend users list` shows all users")
    return found


async def known_user(ctx: Context, settings: Settings) -> Users.Model | None:
    """This box's user; None before the first start of the daemon."""
    return await known_service_user(ctx, settings.store.token.get_secret_value(), settings.data_dir)


async def _user(ctx: Context, command: CommandContext) -> Users.Model:
    if command.user:
        return await find_user(ctx, command.user)
    settings = command.settings
    return await service_user(ctx, settings.store.token.get_secret_value(), settings.data_dir)

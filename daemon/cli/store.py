"""Opening the store in a command: alone, or as a guest of the running daemon's MongoDB."""

import asyncio
import functools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from pathlib import Path
from typing import Any, TypeVar

import click
from bson import ObjectId

from daemon.cli import secrets as cli_secrets
from daemon.cli.options import json_option, settings_option
from daemon.config import file as settings_file
from daemon.config.camera_documents import check_document
from daemon.config.service_user import known_service_user, service_user
from daemon.config.settings import Settings
from daemon.config.uploads import uploads_of
from daemon.errors import StartError
from daemon.runtime import data_folder, logs
from daemon.runtime.terminal import visible
from store import Context, StoreError, Users
from store.collections.extraction import PictureExtractor

T = TypeVar("T")

data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Another data folder than that of the settings, such as data/demo.",
)
user_option = click.option(
    "--user",
    metavar="ID",
    default="",
    envvar="FACEND_TOKEN",
    show_envvar=True,
    help="Act for the user with this id, or this token. Default: this box's own user.",
)
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


class NothingStoredError(StartError):
    """There is nothing to read yet."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(
            f"nothing is stored yet for data_dir {settings.data_dir}: `facend run` makes the database and "
            "this box's user"
        )


@dataclass(frozen=True, slots=True)
class Asked:
    """What every command that opens the store was told."""

    settings: Settings
    user: str = ""
    as_json: bool = False


def store_options(
    *, user: bool = True, as_json: bool = True
) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """The options of a command on the store; it gets them as its first argument, an `Asked`."""
    with_user = user

    def decorate(command: Callable[..., T]) -> Callable[..., T]:
        @functools.wraps(command)
        def wrapped(
            settings_path: Path | None,
            data_dir: Path | None,
            user: str = "",
            as_json: bool = False,
            **rest: Any,  # noqa: ANN401  the command's own options
        ) -> T:
            settings = _settings(settings_path, data_dir)
            data_folder.require_own(settings.data_dir)
            logs.configure(settings.log_format, "warning")
            if with_user:
                file = rest.pop("user_token_file")
                user = cli_secrets.token(user, file, instead="use --token-file or FACEND_TOKEN")
            return command(Asked(settings, user, as_json), **rest)

        shown = [
            settings_option,
            data_dir_option,
            *([user_option, cli_secrets.token_file_option] if with_user else []),
            *([json_option] if as_json else []),
        ]
        for option in reversed(shown):
            wrapped = option(wrapped)
        return wrapped

    return decorate


def with_store(
    asked: Asked,
    work: Callable[[Context, Users.Model], Awaitable[T]],
    extractor: PictureExtractor | None = None,
    facen_size: int | None = None,
    *,
    pack: str | None = None,
    fill: bool = False,
) -> T:
    """Does the work on the open store, for the user that was asked for. StartError says what went wrong."""

    data_folder.prepare(asked.settings.data_dir)

    async def opened() -> T:
        async with _context(
            asked.settings, extractor=extractor, facen_size=facen_size, pack=pack, fill=fill
        ) as ctx:
            return await work(ctx, await _user(ctx, asked))

    return _run(opened())


def read_store(asked: Asked, work: Callable[[Context, Users.Model], Awaitable[T]]) -> T:
    """As `with_store`, but changes nothing in MongoDB and makes no file.

    NothingStoredError where there is no database yet, or no user of this box in it.
    """

    async def found(ctx: Context) -> T:
        user = await (find_user(ctx, asked.user) if asked.user else known_user(ctx, asked.settings))
        if user is None:
            raise NothingStoredError(asked.settings)
        return await work(ctx, user)

    return read_all(asked, found)


def read_rows(asked: Asked, work: Callable[[Context, Users.Model], Awaitable[list[T]]]) -> list[T]:
    """As `read_store`; no rows where nothing is stored yet."""
    try:
        return read_store(asked, work)
    except NothingStoredError:
        return []


def read_all(
    asked: Asked,
    work: Callable[[Context], Awaitable[T]],
    facen_size: int | None = None,
    *,
    pack: str | None = None,
    fill: bool = False,
) -> T:
    """As `read_store`, for what is no single user's. NothingStoredError where there is no database."""
    settings = asked.settings
    if not Context.exists(settings.store, settings.data_dir):
        raise NothingStoredError(settings)

    async def opened() -> T:
        async with _context(settings, facen_size=facen_size, pack=pack, fill=fill, read_only=True) as ctx:
            return await work(ctx)

    return _run(opened())


@asynccontextmanager
async def _context(
    settings: Settings,
    *,
    extractor: PictureExtractor | None = None,
    facen_size: int | None = None,
    pack: str | None = None,
    fill: bool = False,
    read_only: bool = False,
) -> AsyncIterator[Context]:
    async with (
        uploads_of(settings) as uploads,
        Context.open(
            settings.store,
            persons=settings.persons,
            data_dir=settings.data_dir,
            uploads=uploads,
            extractor=extractor,
            facens_settings=settings.facens,
            facen_size=facen_size,
            pack=pack,
            max_pixels=settings.pipeline.max_pixels,
            thumbnail_hosts=settings.uploads.thumbnail_hosts,
            check_camera=check_document,
            fill=fill,
            box=settings.box,
            read_only=read_only,
        ) as ctx,
    ):
        yield ctx


def _run(work: Coroutine[None, None, T]) -> T:
    try:
        return asyncio.run(work)
    except StoreError as error:
        raise StartError(f"store: {error}") from error


async def find_user(ctx: Context, token_or_id: str) -> Users.Model:
    """The user with this token or id, active or not. StartError where there is none."""
    query = {"_id": ObjectId(token_or_id)} if ObjectId.is_valid(token_or_id) else {"token": token_or_id}
    found = await ctx.users.find_one(query)
    if found is None:
        raise StartError("there is no user with this token or id; `facend users list` shows all")
    return found


async def own_user(ctx: Context, settings: Settings) -> Users.Model:
    """The user in whose name this box stores."""
    return await service_user(ctx, settings.store.token.get_secret_value(), settings.data_dir)


async def known_user(ctx: Context, settings: Settings) -> Users.Model | None:
    """The user in whose name this box stores; None where there is none yet."""
    return await known_service_user(ctx, settings.store.token.get_secret_value(), settings.data_dir)


async def _user(ctx: Context, asked: Asked) -> Users.Model:
    return await find_user(ctx, asked.user) if asked.user else await own_user(ctx, asked.settings)


def _settings(settings_path: Path | None, data_dir: Path | None) -> Settings:
    if data_dir is None:
        return settings_file.load(settings_path or settings_file.find())
    settings = settings_file.load(settings_path) if settings_path else Settings()
    return settings.model_copy(update={"data_dir": data_dir.absolute()})


def as_json(value: object, indent: int | None = 2) -> str:
    def dumped(what: object, *, allow_nan: bool) -> str:
        return json.dumps(what, indent=indent, ensure_ascii=False, allow_nan=allow_nan, default=_plain)

    try:
        return dumped(value, allow_nan=False)
    except ValueError:  # JSON has no form for what is no number, or infinite: null says that it is not known
        return dumped(
            json.loads(dumped(value, allow_nan=True), parse_constant=lambda _: None), allow_nan=False
        )


def _plain(value: object) -> object:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, ObjectId):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def echo_table(rows: list[tuple[object, ...]], zone: tzinfo | None = None) -> None:
    """Rows with their columns in line; times in this zone, or in the machine's own."""
    texts = [[_shown(value, zone) for value in row] for row in rows]
    widths = [max(len(row[column]) for row in texts) for column in range(len(texts[0]))] if texts else []
    for row in texts:
        line = (text.ljust(width) for text, width in zip(row, widths, strict=True))
        click.echo("  ".join(line).rstrip())


def _shown(value: object, zone: tzinfo | None) -> str:
    """As a person reads it."""
    if isinstance(value, datetime):
        return f"{value.astimezone(zone):%Y-%m-%d %H:%M:%S}"
    return "–" if value is None else visible(str(value), one_line=True)

"""`facend facens`: inspects, rebuilds and migrates the facen storage."""

from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import asdict
from typing import TypeVar

import click
from pydantic import SecretStr, ValidationError

from daemon.cli import secrets as cli_secrets
from daemon.cli.context import CommandContext, store_options
from daemon.cli.groups import CommandGroup
from daemon.cli.output import echo_table, progress, to_json
from daemon.cli.store import read_all, with_store
from daemon.config.settings import Settings
from daemon.errors import StartError
from daemon.http import client as daemon_client
from daemon.http.client import NoAnswerError
from daemon.model_loading import load_models, pack_in_settings
from daemon.runtime import data_folder
from daemon.runtime.terminal import count
from pipeline.base.urls import mask_url
from pipeline.models.packs import Pack
from store import Context, FacensSettings, Users
from store.facens.pack import claim_pack, stored_pack
from store.facens.storage import FacenStorage
from store.facens.sync.diff import expected_entries
from store.facens.sync.factory import open_storage
from store.facens.sync.migrate import MigrationReport, migrate_facens
from store.facens.sync.reconcile import listed_galleries
from store.facens.sync.snapshot import SnapshotError, summary
from store.settings import LOCAL
from store.upkeep.reembedding import Reembedded, Reembedding

T = TypeVar("T")


@click.group(cls=CommandGroup)
def facens() -> None:
    """Inspect, rebuild or migrate the facen storage.

    A facen is a face's embedding, a feature vector. The facen storage is searched for similar faces.
    """


@facens.command()
@store_options(user=False)
def stats(command: CommandContext) -> None:
    """Show where the facens are stored, and how many there are."""

    async def work(ctx: Context) -> dict[str, object]:
        settings, recorded = command.settings.facens, await stored_pack(ctx.database)
        faces, galleries = await expected_entries(ctx.database["faces"]), []
        known = await listed_galleries(ctx.database, ctx.facens)
        with progress(len(known), "counting facens") as step:
            for key in known:
                entries = await ctx.facens.count(*key) if settings.is_remote else None
                galleries.append(
                    {"owner": key[0], "gallery": key[1], "faces": faces.get(key, 0), "facens": entries}
                )
                step(1)
        return {
            "engine": settings.where,
            "pack": recorded and recorded.name,
            "pack_in_settings": command.settings.models.pack,
            "shards": [asdict(shard) for shard in await ctx.facens.health()] if settings.is_remote else None,
            "snapshots": _snapshots(command.settings),
            "galleries": galleries,
        }

    report = read_all(command, work)
    if command.as_json:
        click.echo(to_json(report))
        return
    echo_table([(key.replace("_", " "), report[key]) for key in ("engine", "pack", "pack_in_settings")])
    for name in ("snapshots", "shards", "galleries"):
        rows = report[name]
        if isinstance(rows, list) and rows:
            click.echo(f"{name}:")
            echo_table([tuple(rows[0]), *(tuple(row.values()) for row in rows)])


def _snapshots(settings: Settings) -> list[dict[str, object]]:
    snapshots: list[dict[str, object]] = []
    for path in sorted((settings.data_dir / "facens").glob("*.facens")):
        try:
            snapshots.append({"file": path.name, **asdict(summary(path))})
        except (SnapshotError, OSError) as error:
            snapshots.append({"file": path.name, "trouble": str(error)})
    return snapshots


@facens.command()
@store_options(user=False)
def rebuild(command: CommandContext) -> None:
    """Rebuild the facen storage from MongoDB and verify that both are equal.

    While the daemon runs, faces are compared and only differences are replaced; searches stay complete.
    Otherwise the storage is cleared and loaded again. An interrupted run starts over.
    """
    pack = _pack(command)
    if data_folder.is_held(command.settings.data_dir):
        _echo_report(command, _rebuild_in_daemon(command, pack))
        return

    async def clear(ctx: Context, _: Users.Model) -> None:
        await claim_pack(ctx.database, pack.name, pack.facen_size)
        await _clear(ctx)

    async def work(ctx: Context, _: Users.Model) -> MigrationReport:
        ctx.facens_lifecycle.remove_snapshots()
        report = await _copy(ctx, ctx.facens)
        await ctx.facens_lifecycle.save()
        return report

    _with_facens(command, clear, None)  # whatever the pack
    _echo_report(command, _with_facens(command, work, pack))


@facens.command()
@store_options(user=False)
@click.option("--to", "url", required=True, metavar="URL", help="Target: milvus://host:19530 or local.")
def migrate(command: CommandContext, url: str) -> None:
    """Copy the facens to another storage and verify the copy.

    The daemon may keep running. Afterwards, set facens.url and restart the daemon, which adds what was stored
    in the meantime. An interrupted run resumes where it stopped; to `local` it starts over.
    """
    url = cli_secrets.argument(url, "--to")
    shown = mask_url(url)
    pack = _pack(command)
    try:
        target_settings = FacensSettings.model_validate(
            {**command.settings.facens.model_dump(), "url": SecretStr("" if url == LOCAL else url)}
        )
    except ValidationError as error:
        raise StartError(f"--to {shown}: {error.errors()[0]['msg']}") from error
    if target_settings == command.settings.facens:
        raise StartError(
            f"--to {shown}: the facens are stored there already; `facend facens rebuild` repairs them"
        )

    async def work(ctx: Context, _: Users.Model) -> MigrationReport:
        target = await open_storage(target_settings, pack.facen_size, pack.name)
        try:
            if target_settings.is_remote:
                return await _copy(ctx, target)
            local = ctx.facens_lifecycle.for_storage(target)
            await local.open(command.settings.data_dir / "facens", pack.name, pack.facen_size)
            report = await _copy(ctx, target)
            await local.save()
            return report
        finally:
            await target.close()

    _echo_report(command, _with_facens(command, work, pack))
    if not command.as_json:
        step = "remove facens.url" if url == LOCAL else "set facens.url to this URL"
        click.echo(f"next: {step} and restart the daemon")


@facens.command("re-embed")
@store_options(user=False)
@click.option(
    "--force",
    is_flag=True,
    help="Remove faces from their galleries if their pictures are at another location, such as another box.",
)
def reembed(command: CommandContext, force: bool) -> None:
    """Recompute every facen from the stored pictures, with the model pack of the settings.

    Stop the daemon first. An interrupted run resumes where it stopped.
    """
    _require_no_daemon(command)
    models = load_models(command.settings)

    async def work(ctx: Context, _: Users.Model) -> Reembedded:
        reembedding = Reembedding(ctx.database, ctx.uploads, models.embedder, models.pack.name)
        await _clear(ctx)
        with progress(await reembedding.left(), "computing facens") as step:
            return await reembedding.run(step, force=force)

    done = _with_facens(command, work, None)
    if command.as_json:
        click.echo(to_json(asdict(done)))
    else:
        click.echo(
            f"recomputed {count(done.done, 'facen')} with {models.pack.name}; removed "
            f"{count(done.without_picture, 'face')} without a picture from their galleries"
        )


def _rebuild_in_daemon(command: CommandContext, pack: Pack) -> MigrationReport:
    """Rebuild in the daemon, which has the facens in memory and can lock a face while it is replaced."""

    async def own_token(ctx: Context, user: Users.Model) -> str:
        recorded = await stored_pack(ctx.database)
        if recorded is not None and recorded.name != pack.name:
            raise StartError(
                f"the daemon runs with the model pack {recorded.name}, the settings have {pack.name}: set "
                f"models.pack to {recorded.name}, or stop the daemon and use `facend facens re-embed`"
            )
        return str(user["token"])

    token = _with_facens(command, own_token, None)
    bar: list[Callable[..., None]] = []  # created once the total is known
    before = 0
    with ExitStack() as stack:

        def show(done: int, total: int) -> None:
            nonlocal before
            if total and not bar:
                bar.append(stack.enter_context(progress(total, "comparing facens")))
            if bar:
                bar[0](done - before)
                before = done

        try:
            return daemon_client.rebuild(command.settings, token, show)
        except NoAnswerError as error:
            raise StartError(f"facens: a daemon runs on {command.settings.data_dir}, but {error}") from error


async def _clear(ctx: Context) -> None:
    for owner, gallery in await ctx.facens.galleries():
        await ctx.facens.drop(owner, gallery)


async def _copy(ctx: Context, target: FacenStorage) -> MigrationReport:
    entries = sum((await expected_entries(ctx.database["faces"])).values())
    with progress(entries, "copying facens") as step:
        return await migrate_facens(ctx.database, target, step)


def _echo_report(command: CommandContext, report: MigrationReport) -> None:
    if command.as_json:
        click.echo(to_json(asdict(report)))
        return
    if report.corrected:
        click.echo(f"corrected: {count(report.corrected, 'face')} whose facen differed from MongoDB's")
    if report.unusable:
        click.echo(
            f"skipped: {count(report.unusable, 'face')} without a usable facen; `facend doctor` lists them"
        )
    click.echo(
        f"verified: {count(report.entries, 'facen')} in {count(report.galleries, 'gallery', 'galleries')} "
        f"equal MongoDB's; {report.sampled} were also found by a search"
    )


def _with_facens(
    command: CommandContext, work: Callable[[Context, Users.Model], Awaitable[T]], pack: Pack | None
) -> T:
    try:
        size, name = (pack.facen_size, pack.name) if pack else (None, None)
        return with_store(command, work, facen_size=size, pack=name)
    except (TimeoutError, OSError) as error:
        raise StartError(f"facens: {error}") from error


def _require_no_daemon(command: CommandContext) -> None:
    if data_folder.is_held(command.settings.data_dir):
        raise StartError(
            "the daemon is running and searches the facens that would be replaced: stop it first"
        )


def _pack(command: CommandContext) -> Pack:
    pack = pack_in_settings(command.settings)
    if pack is None:
        raise StartError(f"models: unknown model pack {command.settings.models.pack}")
    return pack


COMMANDS = (facens,)

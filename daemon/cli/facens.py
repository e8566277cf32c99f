"""`facend facens`: the storage that is searched for who looks alike."""

from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import asdict
from typing import TypeVar

import click
from pydantic import SecretStr, ValidationError

from daemon.cli import secrets as cli_secrets
from daemon.cli.store import Asked, as_json, echo_table, read_all, store_options, with_store
from daemon.config.settings import Settings
from daemon.errors import StartError
from daemon.evaluation.progress import progress
from daemon.http import client as daemon_client
from daemon.http.client import NoAnswerError
from daemon.models import load_models, pack_in_settings
from daemon.runtime import data_folder
from pipeline.base.urls import mask_url
from pipeline.models.packs import Pack
from store import Context, FacensSettings, Users
from store.facens.pack import claim_pack, stored_pack
from store.facens.storage import FacenStorage
from store.facens.sync.diff import entries_listed
from store.facens.sync.factory import open_storage
from store.facens.sync.migrate import Proof, bring_over
from store.facens.sync.reconcile import listed_galleries
from store.facens.sync.snapshot import SnapshotError, summary
from store.settings import LOCAL
from store.upkeep.reembedding import Reembedded, Reembedding

T = TypeVar("T")


@click.group()
def facens() -> None:
    """The storage that is searched for who looks alike."""


@facens.command()
@store_options(user=False)
def stats(asked: Asked) -> None:
    """What is searched, where, and how much of it there is."""

    async def work(ctx: Context) -> dict[str, object]:
        settings, held = asked.settings.facens, await stored_pack(ctx.database)
        faces, galleries = await entries_listed(ctx.database["faces"]), []
        known = await listed_galleries(ctx.database, ctx.facens)
        with progress(len(known), "counting facens") as told:
            for key in known:
                there = await ctx.facens.count(*key) if settings.is_remote else None
                galleries.append(
                    {"owner": key[0], "gallery": key[1], "faces": faces.get(key, 0), "facens": there}
                )
                told(1)
        return {
            "engine": settings.where,
            "pack": held and held.name,
            "pack_in_settings": asked.settings.models.pack,
            "shards": [asdict(shard) for shard in await ctx.facens.health()] if settings.is_remote else None,
            "snapshots": _snapshots(asked.settings),
            "galleries": galleries,
        }

    told = read_all(asked, work)
    if asked.as_json:
        click.echo(as_json(told))
        return
    echo_table([(key.replace("_", " "), told[key]) for key in ("engine", "pack", "pack_in_settings")])
    for name in ("snapshots", "shards", "galleries"):
        rows = told[name]
        if isinstance(rows, list) and rows:
            click.echo(f"{name}:")
            echo_table([tuple(rows[0]), *(tuple(row.values()) for row in rows)])


def _snapshots(settings: Settings) -> list[dict[str, object]]:
    told: list[dict[str, object]] = []
    for path in sorted((settings.data_dir / "facens").glob("*.facens")):
        try:
            told.append({"file": path.name, **asdict(summary(path))})
        except (SnapshotError, OSError) as error:
            told.append({"file": path.name, "trouble": str(error)})
    return told


@facens.command()
@store_options(user=False)
def rebuild(asked: Asked) -> None:
    """Put the facens that are searched right by MongoDB, and prove that both are equal.

    Beside the running daemon every face is compared, and only what differs is exchanged: searches miss
    nobody meanwhile. Without it all is thrown away and made anew. A run that was broken off is begun again.
    """
    pack = _pack(asked)
    if data_folder.is_held(asked.settings.data_dir):
        _tell(asked, _rebuilt_by_daemon(asked, pack))
        return

    async def clear(ctx: Context, _: Users.Model) -> None:
        await claim_pack(ctx.database, pack.name, pack.facen_size)
        await _clear(ctx)

    async def work(ctx: Context, _: Users.Model) -> Proof:
        ctx.keeping.forget()
        proof = await _brought(ctx, ctx.facens)
        await ctx.keeping.save()
        return proof

    _worked(asked, clear, None)  # of whichever pack they are
    _tell(asked, _worked(asked, work, pack))


@facens.command()
@store_options(user=False)
@click.option("--to", "url", required=True, metavar="URL", help="milvus://host:19530, or `local`.")
def migrate(asked: Asked, url: str) -> None:
    """Bring the facens to another storage, and prove that it is equal. The daemon may run on meanwhile.

    Afterwards set facens.url and start the daemon anew: it brings in what was stored in between. A run that
    was broken off goes on where it was; to `local` it begins anew.
    """
    url = cli_secrets.argument(url, "--to")
    shown = mask_url(url)
    pack = _pack(asked)
    try:
        wanted = FacensSettings.model_validate(
            {**asked.settings.facens.model_dump(), "url": SecretStr("" if url == LOCAL else url)}
        )
    except ValidationError as error:
        raise StartError(f"--to {shown}: {error.errors()[0]['msg']}") from error
    if wanted == asked.settings.facens:
        raise StartError(
            f"--to {shown}: this is where the facens are; `facend facens rebuild` puts them right"
        )

    async def work(ctx: Context, _: Users.Model) -> Proof:
        target = await open_storage(wanted, pack.facen_size, pack.name)
        try:
            if wanted.is_remote:
                return await _brought(ctx, target)
            local = ctx.keeping.of(target)
            await local.open(asked.settings.data_dir / "facens", pack.name, pack.facen_size)
            proof = await _brought(ctx, target)
            await local.save()
            return proof
        finally:
            await target.close()

    _tell(asked, _worked(asked, work, pack))
    if not asked.as_json:
        click.echo(f"set facens.url to {'nothing' if url == LOCAL else 'it'} and start the daemon anew")


@facens.command("re-embed")
@store_options(user=False)
@click.option(
    "--force",
    is_flag=True,
    help="Leave faces out of their galleries whose pictures lie at another place, such as another box.",
)
def reembed(asked: Asked, force: bool) -> None:
    """Make every facen anew with the model pack of the settings, from the stored pictures.

    The daemon must not run. A run that was broken off goes on where it was.
    """
    _alone(asked)
    models = load_models(asked.settings)

    async def work(ctx: Context, _: Users.Model) -> Reembedded:
        again = Reembedding(ctx.database, ctx.uploads, models.embedder, models.pack.name)
        await _clear(ctx)
        with progress(await again.left(), "making facens anew") as told:
            return await again.run(told, force=force)

    done = _worked(asked, work, None)
    if asked.as_json:
        click.echo(as_json(asdict(done)))
    else:
        click.echo(
            f"{done.done} facens are of {models.pack.name} now; {done.without_picture} faces have no picture "
            "any more and are left out of their galleries"
        )


def _rebuilt_by_daemon(asked: Asked, pack: Pack) -> Proof:
    """The facens are in the daemon's memory, and only it can hold a face still while that is exchanged."""

    async def own_token(ctx: Context, user: Users.Model) -> str:
        held = await stored_pack(ctx.database)
        if held is not None and held.name != pack.name:
            raise StartError(
                f"the daemon runs with the model pack {held.name}, and the settings have {pack.name}: set "
                f"models.pack to {held.name}, or stop the daemon and use `facend facens re-embed`"
            )
        return str(user["token"])

    token = _worked(asked, own_token, None)
    bar: list[Callable[[int], None]] = []  # made when it is known how long it is
    before = 0
    with ExitStack() as shown:

        def told(done: int, of: int) -> None:
            nonlocal before
            if of and not bar:
                bar.append(shown.enter_context(progress(of, "comparing facens")))
            if bar:
                bar[0](done - before)
                before = done

        try:
            return daemon_client.rebuild(asked.settings, token, told)
        except NoAnswerError as error:
            raise StartError(f"facens: a daemon runs on {asked.settings.data_dir}, but {error}") from error


async def _clear(ctx: Context) -> None:
    for owner, gallery in await ctx.facens.galleries():
        await ctx.facens.drop(owner, gallery)


async def _brought(ctx: Context, target: FacenStorage) -> Proof:
    entries = sum((await entries_listed(ctx.database["faces"])).values())
    with progress(entries, "bringing facens") as told:
        return await bring_over(ctx.database, target, told)


def _tell(asked: Asked, proof: Proof) -> None:
    if asked.as_json:
        click.echo(as_json(asdict(proof)))
        return
    if proof.put_right == 1:
        click.echo("put right: 1 face that was searched by another facen than MongoDB's")
    elif proof.put_right:
        click.echo(f"put right: {proof.put_right} faces that were searched by other facens than MongoDB's")
    if proof.unusable:
        click.echo(f"left out, without a usable facen: {proof.unusable}; `facend doctor` names them")
    click.echo(
        f"equal: {proof.entries} facens in {proof.galleries} galleries, each compared with MongoDB's; "
        f"{proof.looked_for} of them were looked for and found"
    )


def _worked(asked: Asked, work: Callable[[Context, Users.Model], Awaitable[T]], pack: Pack | None) -> T:
    try:
        size, name = (pack.facen_size, pack.name) if pack else (None, None)
        return with_store(asked, work, facen_size=size, pack=name)
    except (TimeoutError, OSError) as error:
        raise StartError(f"facens: {error}") from error


def _alone(asked: Asked) -> None:
    if data_folder.is_held(asked.settings.data_dir):
        raise StartError(
            "the daemon runs, and searches the facens that would be replaced one by one: stop it first"
        )


def _pack(asked: Asked) -> Pack:
    pack = pack_in_settings(asked.settings)
    if pack is None:
        raise StartError(f"models: nothing is known of the pack {asked.settings.models.pack}")
    return pack


COMMANDS = (facens,)

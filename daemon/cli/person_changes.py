"""`facend persons merge|split|rename|undo|changes|proposals`: corrections of identities."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict

import click

from daemon.cli.context import CommandContext, store_options
from daemon.cli.output import echo_table, to_json
from daemon.cli.persons import person_argument, persons
from daemon.cli.store import read_rows, with_store
from daemon.config.person_rules import evidence_rules
from daemon.errors import StartError
from daemon.model_loading import models_folder
from daemon.runtime.terminal import count
from pipeline.errors import ModelError
from pipeline.models.pack_files import Pack, resolve
from store import Context, Users
from store.identity.change_log import Change
from store.identity.changes import PersonChanges
from store.identity.evidence import PersonEvidence, Proposal


@persons.command("merge")
@store_options()
@person_argument
@click.argument("other", metavar="OTHER", type=click.IntRange(min=0))
def merge(command: CommandContext, person_id: int, other: int) -> None:
    """Merge person OTHER into person ID."""
    _change(command, lambda changes: changes.merge(person_id, other))


@persons.command("split")
@store_options()
@person_argument
@click.option("--faces", metavar="ID,ID,…", help="Move these faces to a new person.")
def split(command: CommandContext, person_id: int, faces: str | None) -> None:
    """Split a person who consists of several people.

    Visits are grouped by their facens. The largest group stays with the person, and a new person is created
    from each other group. With --faces, one new person is created from these faces.
    """
    try:
        chosen = None if faces is None else [int(face) for face in faces.split(",")]
    except ValueError as error:
        raise StartError(f"--faces: expected face ids separated by commas, not {faces!r}") from error
    pack = _pack(command)

    async def work(ctx: Context, user: Users.Model) -> list[Change]:
        changes, evidence = _changes(ctx, user), await _evidence(command, ctx, user, pack)
        parts = await evidence.partition(person_id) if chosen is None else [chosen]
        return [await changes.split(person_id, part) for part in parts]

    _echo_changes(command, with_store(command, work))


@persons.command("rename")
@store_options()
@person_argument
@click.argument("name", metavar="NAME")
def rename(command: CommandContext, person_id: int, name: str) -> None:
    """Set the name of a person; "" removes it."""
    _change(command, lambda changes: changes.rename(person_id, name))


@persons.command("undo")
@store_options()
@click.argument("number", metavar="[CHANGE]", type=click.IntRange(min=1), required=False)
def undo(command: CommandContext, number: int | None) -> None:
    """Undo the latest merge, split or renaming, or the change with number CHANGE."""
    _change(command, lambda changes: changes.undo(number))


@persons.command("changes")
@store_options()
def changes(command: CommandContext) -> None:
    """List all merges, splits and renamings, latest first."""

    async def work(ctx: Context, user: Users.Model) -> list[Change]:
        return await _changes(ctx, user).list_changes()

    recorded = read_rows(command, work)
    if command.as_json:
        click.echo(to_json([asdict(one) for one in recorded]))
        return
    rows = [("change", "at", "by", "", "", "state")]
    echo_table(
        [*rows, *((one.number, one.at, one.by, one.kind, _description(one), one.state) for one in recorded)]
    )


@persons.command("proposals")
@store_options()
@click.option(
    "--now", is_flag=True, help="Search now, instead of printing the results of the last nightly job."
)
def proposals(command: CommandContext, now: bool) -> None:
    """List pairs of persons who are probably the same, by the evidence of their visits."""
    pack = _pack(command)

    async def work(ctx: Context, user: Users.Model) -> list[Proposal]:
        evidence = await _evidence(command, ctx, user, pack)
        if now:
            await evidence.run_nightly("propose")
        return await evidence.proposals()

    found = with_store(command, work, load_facens=True) if now else read_rows(command, work)
    if command.as_json:
        click.echo(to_json([asdict(one) for one in found]))
        return
    for one in found:
        click.echo(
            f"facend persons merge {one.person} {one.other}   "
            f"# {one.visits} and {count(one.other_visits, 'visit')}, "
            f"median confidence {one.confidence:.2f}, lowest {one.lowest:.2f}"
        )
    if not found:
        click.echo("there are no proposals")


def _change(command: CommandContext, apply: Callable[[PersonChanges], Awaitable[Change]]) -> None:
    async def work(ctx: Context, user: Users.Model) -> list[Change]:
        return [await apply(_changes(ctx, user))]

    _echo_changes(command, with_store(command, work))


def _echo_changes(command: CommandContext, recorded: list[Change]) -> None:
    if command.as_json:
        click.echo(to_json([asdict(one) for one in recorded]))
        return
    for one in recorded:
        click.echo(f"change {one.number} {one.state}: {one.kind} {_description(one)}")


def _description(change: Change) -> str:
    faces = count(change.faces, "face")
    if change.kind == "merge":
        return f"{change.other} into {change.person}, {faces}"
    if change.kind == "split":
        return f"{change.other} from {change.person}, {faces}"
    return f"{change.person} to {change.name!r}" if change.name else f"{change.person} to no name"


def _changes(ctx: Context, user: Users.Model) -> PersonChanges:
    return PersonChanges(ctx, user, ctx.persons.rules.references)


async def _evidence(command: CommandContext, ctx: Context, user: Users.Model, pack: Pack) -> PersonEvidence:
    rules = await evidence_rules(ctx, user, command.settings.persons, pack)
    return PersonEvidence(ctx, user, rules, ctx.persons.rules.references)


def _pack(command: CommandContext) -> Pack:
    """The model pack of the settings, for its thresholds. Loads no model."""
    settings = command.settings
    try:
        return resolve(settings.models.pack, models_folder(settings))
    except ModelError as error:
        raise StartError(f"models: {error}") from error


COMMANDS = (persons,)

"""`facend persons merge|split|rename|undo|changes|proposals`: mending who is who."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict

import click

from daemon.cli.persons import person_argument, persons
from daemon.cli.store import Asked, as_json, echo_table, read_rows, store_options, with_store
from daemon.config.rules import evidence_rules
from daemon.errors import StartError
from daemon.models import models_folder
from pipeline.errors import ModelError
from pipeline.models.files import Pack, resolve
from store import Context, Users
from store.identity.changes import Change, PersonChanges
from store.identity.evidence import PersonEvidence, Proposal


@persons.command("merge")
@store_options()
@person_argument
@click.argument("other", metavar="OTHER", type=click.IntRange(min=0))
def merge(asked: Asked, person_id: int, other: int) -> None:
    """OTHER is person ID too: their faces become ID's, and OTHER is no more."""
    _change(asked, lambda changes: changes.merge(person_id, other))


@persons.command("split")
@store_options()
@person_argument
@click.option("--faces", metavar="ID,ID,…", help="These faces are another person's.")
def split(asked: Asked, person_id: int, faces: str | None) -> None:
    """Person ID is several people: makes a new person for each but the one seen most.

    Which visits belong together is seen by their facens, or named by --faces.
    """
    try:
        chosen = None if faces is None else [int(face) for face in faces.split(",")]
    except ValueError as error:
        raise StartError(f"--faces takes the ids of faces with commas between them, not {faces!r}") from error
    pack = _pack(asked)

    async def work(ctx: Context, user: Users.Model) -> list[Change]:
        changes, evidence = _changes(ctx, user), _evidence(asked, ctx, user, pack)
        parts = await evidence.parts(person_id) if chosen is None else [chosen]
        return [await changes.split(person_id, part) for part in parts]

    _tell(asked, with_store(asked, work))


@persons.command("rename")
@store_options()
@person_argument
@click.argument("name", metavar="NAME")
def rename(asked: Asked, person_id: int, name: str) -> None:
    """Call person ID by a name; "" takes it away."""
    _change(asked, lambda changes: changes.rename(person_id, name))


@persons.command("undo")
@store_options()
@click.argument("number", metavar="[CHANGE]", type=click.IntRange(min=1), required=False)
def undo(asked: Asked, number: int | None) -> None:
    """Take back a merge, split or renaming: the latest, or the one with this number."""
    _change(asked, lambda changes: changes.undo(number))


@persons.command("changes")
@store_options()
def changes(asked: Asked) -> None:
    """Every merge, split and renaming, the latest first."""

    async def work(ctx: Context, user: Users.Model) -> list[Change]:
        return await _changes(ctx, user).made()

    made = read_rows(asked, work)
    if asked.as_json:
        click.echo(as_json([asdict(one) for one in made]))
        return
    rows = [("change", "at", "by", "", "", "state")]
    echo_table([*rows, *((one.number, one.at, one.by, one.kind, _what(one), one.state) for one in made)])


@persons.command("proposals")
@store_options()
@click.option("--now", is_flag=True, help="Look now, instead of telling what the last night found.")
def proposals(asked: Asked, now: bool) -> None:
    """Persons who seem to be one, by the evidence of their visits."""
    pack = _pack(asked)

    async def work(ctx: Context, user: Users.Model) -> list[Proposal]:
        evidence = _evidence(asked, ctx, user, pack)
        if now:
            await evidence.night("propose")
        return await evidence.proposals()

    found = with_store(asked, work, fill=True) if now else read_rows(asked, work)
    if asked.as_json:
        click.echo(as_json([asdict(one) for one in found]))
        return
    for one in found:
        click.echo(
            f"facend persons merge {one.person} {one.other}   # {one.visits} and {one.other_visits} visits, "
            f"confidence {one.confidence:.2f}, at least {one.lowest:.2f}"
        )
    if not found:
        click.echo("nobody seems to be the same person as somebody else")


def _change(asked: Asked, make: Callable[[PersonChanges], Awaitable[Change]]) -> None:
    async def work(ctx: Context, user: Users.Model) -> list[Change]:
        return [await make(_changes(ctx, user))]

    _tell(asked, with_store(asked, work))


def _tell(asked: Asked, made: list[Change]) -> None:
    if asked.as_json:
        click.echo(as_json([asdict(one) for one in made]))
        return
    for one in made:
        click.echo(f"change {one.number} {one.state}: {one.kind} {_what(one)}")


def _what(change: Change) -> str:
    faces = "1 face" if change.faces == 1 else f"{change.faces} faces"
    if change.kind == "merge":
        return f"{change.other} into {change.person}, {faces}"
    if change.kind == "split":
        return f"{change.other} off {change.person}, {faces}"
    return f"{change.person} to {change.name!r}" if change.name else f"{change.person} to no name"


def _changes(ctx: Context, user: Users.Model) -> PersonChanges:
    return PersonChanges(ctx, user, ctx.persons.rules.references)


def _evidence(asked: Asked, ctx: Context, user: Users.Model, pack: Pack) -> PersonEvidence:
    settings = asked.settings.persons
    return PersonEvidence(ctx, user, evidence_rules(settings, pack), ctx.persons.rules.references)


def _pack(asked: Asked) -> Pack:
    """The pack of the settings, for its thresholds; no model is loaded."""
    settings = asked.settings
    try:
        return resolve(settings.models.pack, models_folder(settings))
    except ModelError as error:
        raise StartError(f"models: {error}") from error


COMMANDS = (persons,)

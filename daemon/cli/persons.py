"""`facend persons list|show|erase`: persons with their visits and friendships, and their erasure."""

from collections.abc import Collection
from dataclasses import asdict

import click

from daemon.cli.context import CommandContext, store_options
from daemon.cli.export import person_rows
from daemon.cli.groups import CommandGroup
from daemon.cli.options import yes_option
from daemon.cli.output import echo_table, to_json
from daemon.cli.store import known_user, read_rows, read_store, with_store
from daemon.config.settings import Settings
from daemon.errors import StartError
from daemon.model_loading import pack_in_settings
from daemon.runtime.terminal import count
from store import Context, Users
from store.identity.erasure import Erasure
from store.identity.erasure_report import Erased, Preview
from store.identity.lookalikes import Lookalike
from store.queries.person_history import CameraHistory, History, person_history
from store.spool.files import SpoolFiles

SHOWN_VISITS = 20

person_argument = click.argument("person_id", metavar="ID", type=click.IntRange(min=0))


@click.group(cls=CommandGroup)
def persons() -> None:
    """List, show, correct and erase persons.

    A person is created for a visitor whom no known face matches, or by enrolment.
    """


@persons.command("list")
@store_options()
def list_persons(command: CommandContext) -> None:
    """List all persons, with faces, first and last visit and last camera."""

    async def work(ctx: Context, user: Users.Model) -> list[dict[str, object]]:
        return [row async for row in person_rows(ctx, user)]

    rows = read_rows(command, work)
    if command.as_json:
        click.echo(to_json(rows))
        return
    keys = ("id", "name", "faces", "first_seen", "last_seen", "last_camera")
    echo_table(
        [tuple(key.replace("_", " ") for key in keys), *(tuple(row[key] for key in keys) for row in rows)],
        command.settings.persons.zone,
    )


@persons.command("show")
@store_options()
@person_argument
def show(command: CommandContext, person_id: int) -> None:
    """Show a person's visits and cameras, where they are a friend, and why."""

    async def work(ctx: Context, user: Users.Model) -> History:
        return await person_history(ctx, user, person_id)

    known = read_store(command, work)
    if command.as_json:
        click.echo(to_json(_report(known, command.settings)))
        return
    name, zone = known.person.get("name"), command.settings.persons.zone
    click.echo(f"person {person_id}{f', {name}' if name else ''}")
    click.echo(
        f"{count(known.faces, 'face')}, {known.enrolled} enrolled; {count(len(known.visits), 'visit')}"
    )
    for camera in known.cameras:
        click.echo(f"\ncamera {camera.cam_id}: {_friendship(camera, command.settings)}")
        echo_table(
            [("  first seen", camera.first), ("  last seen", camera.last), ("  visits", camera.visits)], zone
        )
    if known.visits:
        click.echo("\nvisits, latest first")
        echo_table(
            [
                (
                    f"  {visit.cam_id}",
                    visit.first,
                    count(visit.faces, "face"),
                    visit.thumbnail,
                )
                for visit in known.visits[:SHOWN_VISITS]
            ],
            zone,
        )
    if len(known.visits) > SHOWN_VISITS:
        click.echo(f"  and {len(known.visits) - SHOWN_VISITS} earlier; --json shows all")
    if zone_name := command.settings.persons.time_zone:
        click.echo(f"\ntimes are in {zone_name}")


@persons.command("erase")
@store_options()
@person_argument
@click.option(
    "--lookalike",
    "lookalikes",
    metavar="ID",
    type=click.IntRange(min=0),
    multiple=True,
    help="Also erase this person, who is the same human being. May be repeated.",
)
@click.option("--with-lookalikes", is_flag=True, help="Also erase all persons who look the same.")
@click.option(
    "--double",
    "doubles",
    metavar="ID",
    type=click.IntRange(min=0),
    multiple=True,
    hidden=True,
    deprecated="use --lookalike",
    help="The old name of --lookalike.",
)
@click.option(
    "--with-doubles",
    is_flag=True,
    hidden=True,
    deprecated="use --with-lookalikes",
    help="The old name of --with-lookalikes.",
)
@yes_option
def erase(
    command: CommandContext,
    person_id: int,
    lookalikes: tuple[int, ...],
    with_lookalikes: bool,
    doubles: tuple[int, ...],
    with_doubles: bool,
    yes: bool,
) -> None:
    """Erase a person with faces, facens and pictures. This cannot be undone.

    Similar faces without a person are erased as well. Other persons who look the same are listed, and erased
    if you confirm it or name them. The report says what could not be reached or checked.
    """
    low = None if (pack := pack_in_settings(command.settings)) is None else pack.thresholds.low
    chosen = [*lookalikes, *doubles]
    with_lookalikes = with_lookalikes or with_doubles

    async def preview(ctx: Context, user: Users.Model) -> Preview:
        return await Erasure(ctx, user, low).preview(person_id)

    async def work(ctx: Context, user: Users.Model) -> Erased:
        own = await known_user(ctx, command.settings)
        is_own = own is not None and own["_id"] == user["_id"]
        sightings = SpoolFiles(command.settings.data_dir / "spool") if is_own else None
        erasure = Erasure(ctx, user, low, sightings)
        return await erasure.erase(person_id, chosen, with_lookalikes=with_lookalikes)

    if not yes:
        if command.as_json:
            raise StartError("erasure cannot be undone; confirm with --yes")
        chosen += _confirmed(command, with_store(command, preview), list(chosen), with_lookalikes)
    erased = with_store(command, work)
    if command.as_json:
        click.echo(to_json(asdict(erased)))
    else:
        click.echo("\n".join(_erased(erased, command)))


def _confirmed(
    command: CommandContext, found: Preview, named: Collection[int], with_lookalikes: bool
) -> list[int]:
    """Ask about the person and each lookalike that was not named; returns the ids of the confirmed ones."""
    more = f", and {count(found.unassigned, 'similar face')} without a person" if found.unassigned else ""
    others = [one for one in found.lookalikes if one.person_id not in named]
    if with_lookalikes and others:
        click.echo("These persons look the same and are erased as well:")
        for one in others:
            click.echo(f"  {_lookalike(one, command)}")
    click.confirm(
        f"Erase {_person(found.person_id, found.name)} with {count(found.faces, 'face')} and "
        f"{count(found.pictures, 'picture')}{more}? This cannot be undone.",
        abort=True,
    )
    return [
        one.person_id
        for one in ([] if with_lookalikes else others)
        if click.confirm(f"Also erase {_lookalike(one, command)}? They look the same.")
    ]


def _erased(erased: Erased, command: CommandContext) -> list[str]:
    """The lines of the report."""
    done = (
        f"{count(erased.faces, 'face')}, {count(erased.pictures, 'picture')}, "
        f"{count(erased.unassigned, 'similar face')} without a person, "
        f"{count(erased.shared_photos, 'photo')} of others that showed them, "
        f"{count(erased.sightings, 'sighting')} in the spool and its dead letters"
    )
    lines = [f"erased {_person(erased.person_id, erased.name)}: {done}"]
    if erased.lookalikes:
        lines.append(f"erased with them: person {', '.join(map(str, erased.lookalikes))}")
    lines += [
        f"not reachable: {count(one.pictures, 'picture')} at {one.place}; removed when it is next used"
        for one in erased.elsewhere
    ]
    lines += [f"kept by its host, remove it there: {url}" for url in erased.foreign_urls]
    lines += [
        f"kept: {_lookalike(one, command)}; `facend persons erase {one.person_id}` if it is the same person"
        for one in erased.lookalikes_left
    ]
    return [*lines, *(f"not checked: {item}" for item in erased.not_checked)]


def _person(person_id: int, name: str | None) -> str:
    return f"person {person_id}{f' ({name})' if name else ''}"


def _lookalike(one: Lookalike, command: CommandContext) -> str:
    zone = command.settings.persons.zone
    times = [f"{at.astimezone(zone):%Y-%m-%d %H:%M}" for at in (one.first_seen, one.last_seen) if at]
    seen = f", seen {' to '.join(times)}" if times else ""
    person = f"{_person(one.person_id, one.name)}, {count(one.faces, 'face')}"
    return f"{person}{seen}, confidence {one.confidence:.2f}"


def _friendship(camera: CameraHistory, settings: Settings) -> str:
    needed, interval = settings.persons.friend_count, settings.persons.friend_interval_days
    days = ", ".join(f"{day:%a %Y-%m-%d}" for day in camera.days) or "none"
    return (
        f"{'a friend' if camera.friend else 'not a friend'}, seen on {len(camera.days)} "
        f"of the last {interval} days ({days}), {needed} required"
    )


def _report(known: History, settings: Settings) -> dict[str, object]:
    rule = {"needed": settings.persons.friend_count, "interval_days": settings.persons.friend_interval_days}
    return {
        "id": known.person["_id"],
        "name": known.person.get("name"),
        "created": known.person.get("created"),
        "faces": known.faces,
        "enrolled": known.enrolled,
        "cameras": [{**asdict(camera), **rule} for camera in known.cameras],
        "visits": [asdict(visit) for visit in known.visits],
    }

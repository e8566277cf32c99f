"""`facend persons`: who was seen, where and when, who is a friend and why, and being forgotten."""

from collections.abc import Collection
from dataclasses import asdict

import click

from daemon.cli.export import exported_persons
from daemon.cli.store import (
    Asked,
    as_json,
    echo_table,
    known_user,
    read_rows,
    read_store,
    store_options,
    with_store,
    yes_option,
)
from daemon.config.settings import Settings
from daemon.errors import StartError
from daemon.models import pack_in_settings
from store import Context, Users
from store.identity.erasure import Erasure
from store.identity.erasure_report import Erased, Preview
from store.identity.history import AtCamera, History, history
from store.identity.lookalikes import Double
from store.spool.files import SpoolFiles

SHOWN_VISITS = 20

person_argument = click.argument("person_id", metavar="ID", type=click.IntRange(min=0))


@click.group()
def persons() -> None:
    """Those who were seen or enrolled."""


@persons.command("list")
@store_options()
def list_persons(asked: Asked) -> None:
    """Every person: id, name, faces, first and last seen, last camera."""

    async def work(ctx: Context, user: Users.Model) -> list[dict[str, object]]:
        return [row async for row in exported_persons(ctx, user)]

    rows = read_rows(asked, work)
    if asked.as_json:
        click.echo(as_json(rows))
        return
    keys = ("id", "name", "faces", "first_seen", "last_seen", "last_camera")
    echo_table(
        [tuple(key.replace("_", " ") for key in keys), *(tuple(row[key] for key in keys) for row in rows)],
        asked.settings.persons.zone,
    )


@persons.command("show")
@store_options()
@person_argument
def show(asked: Asked, person_id: int) -> None:
    """One person's visits and cameras, where they are a friend, and which days count for that."""

    async def work(ctx: Context, user: Users.Model) -> History:
        return await history(ctx, user, person_id)

    known = read_store(asked, work)
    if asked.as_json:
        click.echo(as_json(_report(known, asked.settings)))
        return
    name, zone = known.person.get("name"), asked.settings.persons.zone
    click.echo(f"person {person_id}{f', {name}' if name else ''}")
    click.echo(f"{known.faces} faces, {known.enrolled} of them enrolled; {len(known.visits)} visits")
    for camera in known.cameras:
        click.echo(f"\ncamera {camera.cam_id}: {_friendship(camera, asked.settings)}")
        echo_table(
            [("  first seen", camera.first), ("  last seen", camera.last), ("  visits", camera.visits)], zone
        )
    if known.visits:
        click.echo("\nvisits, the latest first")
        echo_table(
            [
                (
                    f"  {visit.cam_id}",
                    visit.first,
                    "1 face" if visit.faces == 1 else f"{visit.faces} faces",
                    visit.thumbnail,
                )
                for visit in known.visits[:SHOWN_VISITS]
            ],
            zone,
        )
    if len(known.visits) > SHOWN_VISITS:
        click.echo(f"  and {len(known.visits) - SHOWN_VISITS} earlier ones; --json shows all")
    if named := asked.settings.persons.time_zone:
        click.echo(f"\ndays and times are those of {named}")


@persons.command("erase")
@store_options()
@person_argument
@click.option(
    "--double",
    "doubles",
    metavar="ID",
    type=click.IntRange(min=0),
    multiple=True,
    help="Erase this person, too: the same human being. May be repeated.",
)
@click.option("--with-doubles", is_flag=True, help="Erase everybody who looks the same, too.")
@yes_option
def erase(asked: Asked, person_id: int, doubles: tuple[int, ...], with_doubles: bool, yes: bool) -> None:
    """Remove a person: their faces, facens and pictures. This cannot be undone.

    Faces without a person that look like them go too. Other persons who look the same are shown, and erased
    where you confirm it or name them. The report says what was not reached or not checked.
    """
    low = None if (pack := pack_in_settings(asked.settings)) is None else pack.thresholds.low
    chosen = list(doubles)

    async def preview(ctx: Context, user: Users.Model) -> Preview:
        return await Erasure(ctx, user, low).preview(person_id)

    async def work(ctx: Context, user: Users.Model) -> Erased:
        own = await known_user(ctx, asked.settings)
        is_own = own is not None and own["_id"] == user["_id"]
        sightings = SpoolFiles(asked.settings.data_dir / "spool") if is_own else None
        erasure = Erasure(ctx, user, low, sightings)
        return await erasure.erase(person_id, chosen, with_doubles=with_doubles)

    if not yes:
        if asked.as_json:
            raise StartError("erasing cannot be undone; say --yes if you mean it")
        chosen += _confirmed(asked, with_store(asked, preview), doubles, with_doubles)
    erased = with_store(asked, work)
    if asked.as_json:
        click.echo(as_json(asdict(erased)))
    else:
        click.echo("\n".join(_erased(erased, asked)))


def _confirmed(asked: Asked, found: Preview, named: Collection[int], with_doubles: bool) -> list[int]:
    """Asks for the person and for each double that was not named; the doubles that were confirmed."""
    more = f", and {_faces(found.unassigned)} without a person that look the same" if found.unassigned else ""
    others = [one for one in found.doubles if one.person_id not in named]
    if with_doubles and others:
        click.echo("These persons look the same and are erased, too:")
        for one in others:
            click.echo(f"  {_double(one, asked)}")
    click.confirm(
        f"Erase {_person(found.person_id, found.name)} with {_faces(found.faces)} and {found.pictures} "
        f"pictures{more}? This cannot be undone.",
        abort=True,
    )
    return [
        one.person_id
        for one in ([] if with_doubles else others)
        if click.confirm(f"Erase {_double(one, asked)}, too? They look the same.")
    ]


def _erased(erased: Erased, asked: Asked) -> list[str]:
    """The report, line by line."""
    done = (
        f"{_faces(erased.faces)}, {erased.pictures} pictures, {_faces(erased.unassigned)} without a person "
        f"that looked like them, {erased.shared_photos} photos of others that showed them, "
        f"{erased.sightings} sightings in the spool and its dead letters"
    )
    lines = [f"erased {_person(erased.person_id, erased.name)}: {done}"]
    if erased.doubles:
        lines.append(f"erased with them: person {', '.join(map(str, erased.doubles))}")
    lines += [
        f"not here: {one.pictures} pictures at {one.place}; they are removed when that place is next in use"
        for one in erased.elsewhere
    ]
    lines += [f"stays at its host, remove it there: {url}" for url in erased.foreign_urls]
    lines += [
        f"stays: {_double(one, asked)}; `facend persons erase {one.person_id}` if it is the same person"
        for one in erased.doubles_left
    ]
    return [*lines, *(f"not checked: {what}" for what in erased.not_checked)]


def _person(person_id: int, name: str | None) -> str:
    return f"person {person_id}{f' ({name})' if name else ''}"


def _faces(number: int) -> str:
    return "1 face" if number == 1 else f"{number} faces"


def _double(one: Double, asked: Asked) -> str:
    zone = asked.settings.persons.zone
    times = [f"{at.astimezone(zone):%Y-%m-%d %H:%M}" for at in (one.first_seen, one.last_seen) if at]
    seen = f", seen {' to '.join(times)}" if times else ""
    return f"{_person(one.person_id, one.name)}, {_faces(one.faces)}{seen}, confidence {one.confidence:.2f}"


def _friendship(camera: AtCamera, settings: Settings) -> str:
    needed, interval = settings.persons.friend_count, settings.persons.friend_interval_days
    days = ", ".join(f"{day:%a %Y-%m-%d}" for day in camera.days) or "none"
    return (
        f"{'a friend' if camera.friend else 'not a friend'}, seen on {len(camera.days)} "
        f"of the last {interval} days ({days}), {needed} are needed"
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

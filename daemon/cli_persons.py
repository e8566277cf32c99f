"""`facend persons`: who was seen, where and when, who is a friend and why, and being forgotten."""

from dataclasses import asdict

import click

from daemon.cli_export import exported_persons
from daemon.cli_store import (
    Asked,
    as_json,
    echo_table,
    read_rows,
    read_store,
    store_options,
    with_store,
    yes_option,
)
from daemon.errors import StartError
from daemon.settings import Settings
from store import Context, Users
from store.erasure import Erased, Erasure
from store.person_history import AtCamera, History, history

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
@yes_option
def erase(asked: Asked, person_id: int, yes: bool) -> None:
    """Remove a person: their faces, facens and pictures, everywhere. This cannot be undone."""

    async def work(ctx: Context, user: Users.Model) -> Erased:
        return await Erasure(ctx, user).erase(person_id)

    if not yes:
        if asked.as_json:
            raise StartError("erasing cannot be undone; say --yes if you mean it")
        click.confirm(
            f"Erase person {person_id} with all faces and pictures? This cannot be undone.", abort=True
        )
    erased = with_store(asked, work)
    if asked.as_json:
        click.echo(as_json(asdict(erased)))
        return
    click.echo(
        f"erased person {person_id}: {erased.faces} faces, {erased.pictures} pictures, "
        f"{erased.shared_photos} photos of others that showed them; looked everywhere, nothing is left"
    )


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

"""`facend visits`: who was where, and when."""

from dataclasses import asdict

import click

from daemon.cli.context import CommandContext, store_options
from daemon.cli.moments import moment
from daemon.cli.output import echo_table, to_json
from daemon.cli.store import read_rows
from daemon.runtime.terminal import count
from store import Context, Users
from store.queries.people import find_person
from store.queries.visits import Visit, VisitFilter, list_visits

TIME = "Date, time or age: 2026-03-01, 2026-03-01T14:05, 14:05 (today), 90m, 2h, 7d."


@click.command()
@store_options()
@click.option("--camera", "cameras", metavar="ID", multiple=True, help="Only this camera. May be repeated.")
@click.option("--since", metavar="TIME", help=f"Only visits that begin at this time or later. {TIME}")
@click.option("--until", metavar="TIME", help="Only visits that begin before this time.")
@click.option("--person", metavar="ID|NAME", help="Only visits of this person.")
@click.option("--unknown", is_flag=True, help="Only visits without a person, or of one without a name.")
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(min=1, max=100_000),
    default=50,
    show_default=True,
    help="Maximum number of visits.",
)
def visits(
    command: CommandContext,
    cameras: tuple[str, ...],
    since: str | None,
    until: str | None,
    person: str | None,
    unknown: bool,
    limit: int,
) -> None:
    """List visits: who was where, and when.

    A visit is one continuous stay in front of one camera. The latest come first, with their length and the
    confidence of the identification. Times are those of the setting persons.time_zone.
    """
    zone = command.settings.persons.zone
    begin, end = moment("--since", since, zone), moment("--until", until, zone)

    async def work(ctx: Context, user: Users.Model) -> list[Visit]:
        who = None if person is None else await find_person(ctx, user, person)
        filters = VisitFilter(
            cameras=cameras or None, person=who, since=begin, until=end, named=False if unknown else None
        )
        return await list_visits(ctx, user, filters, limit=limit)

    found = read_rows(command, work)
    if command.as_json:
        click.echo(to_json([_row(one) for one in found]))
        return
    rows = [("start", "length", "camera", "person", "confidence", "friend", "faces")]
    echo_table([*rows, *(_line(one) for one in found)], zone)
    if len(found) == limit:
        click.echo(f"the latest {count(limit, 'visit')}; --limit shows more", err=True)


def _line(visit: Visit) -> tuple[object, ...]:
    who: str = visit.outcome or "no person"
    if visit.person_id is not None:
        who = visit.person_name or f"person {visit.person_id}"
    sure = None if visit.confidence is None else f"{visit.confidence:.2f}"
    length = round((visit.end - visit.start).total_seconds())
    return visit.start, f"{length} s", visit.cam_id, who, sure, "friend" if visit.friend else "", visit.faces


def _row(visit: Visit) -> dict[str, object]:
    row = asdict(visit)
    del row["key"]
    return row


COMMANDS = (visits,)

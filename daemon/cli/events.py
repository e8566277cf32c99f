"""`facend events`: prints events as they occur."""

import asyncio
import contextlib
import sys

import click

from daemon.cli.context import CommandContext, store_options
from daemon.cli.groups import CommandGroup
from daemon.cli.output import to_json
from daemon.cli.store import read_store
from daemon.events.messages import MessageBuilder
from daemon.events.payload import EventPayload
from pipeline.base.background import supervised
from pipeline.base.control_characters import visible
from store import Context, Users
from store.mongo.change_stream import watch
from store.outbox.events import EVENTS, Outbox

POLL_SECONDS = 2.0
"""Interval of polls, for a MongoDB without change streams."""


@click.group(cls=CommandGroup)
def events() -> None:
    """Show events as they occur."""


@events.command("tail")
@store_options()
@click.option("--all", "from_start", is_flag=True, help="Begin with the oldest stored event.")
@click.option("--no-follow", is_flag=True, help="Exit after the stored events.")
def tail(command: CommandContext, from_start: bool, no_follow: bool) -> None:
    """Print each event of all boxes, until Ctrl-C.

    Events are kept for 7 days. Events of erased persons are removed.
    """

    async def work(ctx: Context, user: Users.Model) -> None:
        outbox, builder = Outbox(ctx.database, user["_id"], ctx.box), MessageBuilder(ctx, user)
        number = 0 if from_start else await outbox.last_number()
        changed = asyncio.Event()
        watching = supervised(watch(ctx.database[EVENTS], changed.set), "changes of the outbox")
        try:
            while True:
                changed.clear()
                async for event in outbox.after(number):
                    number = event.number
                    if (payload := await builder.build(event)) is not None:
                        _echo(payload, command)
                if no_follow:
                    return
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), POLL_SECONDS)
        finally:
            watching.cancel()

    read_store(command, work)


def _echo(payload: EventPayload, command: CommandContext) -> None:
    if command.as_json:
        click.echo(to_json(payload.model_dump(mode="json"), indent=None))
    else:
        click.echo(visible(_line(payload, command), one_line=True))
    sys.stdout.flush()


def _line(payload: EventPayload, command: CommandContext) -> str:
    """An event as a line of text: time at the site, type, camera, person and reason."""
    words = [f"{payload.time.astimezone(command.settings.persons.zone):%H:%M:%S}", f"{payload.type:<15}"]
    if payload.camera:
        words.append(f"camera {payload.camera}")
    if (person := payload.person) is not None:
        name = f" ({person.name})" if person.name else ""
        words.append(f"person {person.id}{name}{', new' if person.new else ''}")
    if payload.other_person:
        words.append(f"and person {payload.other_person}")
    if (match := payload.match) is not None:
        confidence = "" if match.confidence is None else f" {match.confidence:.2f}"
        words.append(f"{match.outcome}{confidence}{', provisional' if match.provisional else ''}")
    if payload.reason:
        words.append(payload.reason)
    return "  ".join(words)


COMMANDS = (events,)

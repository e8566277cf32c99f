"""`facend export`: stored faces and persons as JSON lines, in constant memory."""

import os
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import click

from daemon.cli.context import CommandContext, store_options
from daemon.cli.groups import CommandGroup
from daemon.cli.output import to_json
from daemon.cli.store import read_rows
from store import Context, Face, Users
from store.queries.faces import all_faces
from store.queries.people import PersonSummary, all_people


@click.group(cls=CommandGroup)
def export() -> None:
    """Print stored faces or persons as JSON, one object per line."""


@export.command()
@store_options(as_json=False)
def faces(command: CommandContext) -> None:
    """Print every stored face, oldest first."""
    _print(command, face_rows)


@export.command()
@store_options(as_json=False)
def persons(command: CommandContext) -> None:
    """Print every person, with the number of faces and when first and last seen."""
    _print(command, person_rows)


def face_row(face: Face) -> dict[str, Any]:
    """The documented keys of an exported face."""
    return {
        "id": face["_id"],
        "cam_id": face.get("cam_id"),
        "person_id": face.get("person_id"),
        "friend": face.get("friend"),
        "bbox": face.bbox and list(face.bbox),
        "score": face.get("score"),
        "gender": face.get("gender"),
        "age": face.get("age"),
        "emotions": face.get("emotions"),
        "timestamp": face.timestamp,
        "media_time": face.get("media_time"),
        "galleries": face.galleries,
        "photo": face.get("photo"),
        "thumbnail": face.get("thumbnail"),
        "normalized": face.get("normalized"),
        "photo_hash": face.get("photo_hash"),
        "meta": face.get("meta"),
    }


Rows = Callable[[Context, Users.Model], AsyncIterator[dict[str, Any]]]


def _print(command: CommandContext, rows: Rows) -> None:
    async def work(ctx: Context, user: Users.Model) -> list[None]:
        async for row in rows(ctx, user):
            sys.stdout.write(to_json(row, indent=None) + "\n")
        sys.stdout.flush()
        return []

    try:
        read_rows(command, work)
    except BrokenPipeError:
        # The reader closed the pipe, as `head` does. The rest of the buffer is discarded.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


async def face_rows(ctx: Context, user: Users.Model) -> AsyncIterator[dict[str, Any]]:
    async for face in all_faces(ctx, user):
        yield face_row(face)


async def person_rows(ctx: Context, user: Users.Model) -> AsyncIterator[dict[str, Any]]:
    async for person in all_people(ctx, user):
        yield person_row(person)


def person_row(person: PersonSummary) -> dict[str, Any]:
    """The documented keys of an exported person."""
    keys = ("id", "name", "faces", "first_seen", "last_seen", "last_camera", "last_thumbnail")
    return {key: getattr(person, key) for key in keys}


COMMANDS = (export,)

"""`facend export`: what is stored, as a JSON object a line, however much it is."""

import os
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import click

from daemon.cli.store import Asked, as_json, read_rows, store_options
from store import Context, Face, Person, Users

PAGE = 500


@click.group()
def export() -> None:
    """Print what is stored, one JSON object a line."""


@export.command()
@store_options(as_json=False)
def faces(asked: Asked) -> None:
    """Every stored face, oldest first."""
    _print(asked, exported_faces)


@export.command()
@store_options(as_json=False)
def persons(asked: Asked) -> None:
    """Every person, with the number of their faces and when they were first and last seen."""
    _print(asked, exported_persons)


def exported_face(face: Face) -> dict[str, Any]:
    """The promised keys of a face."""
    return {
        "id": face["_id"],
        "cam_id": face.get("cam_id"),
        "person_id": face.get("person_id"),
        "friend": face.get("friend"),
        "bbox": face.bbox and list(face.bbox),
        "score": face.get("score"),
        "timestamp": face.timestamp,
        "media_time": face.get("media_time"),
        "galleries": face.galleries,
        "photo": face.get("photo"),
        "thumbnail": face.get("thumbnail"),
        "normalized": face.get("normalized"),
        "photo_hash": face.get("photo_hash"),
    }


Rows = Callable[[Context, Users.Model], AsyncIterator[dict[str, Any]]]


def _print(asked: Asked, rows: Rows) -> None:
    async def work(ctx: Context, user: Users.Model) -> list[None]:
        async for row in rows(ctx, user):
            sys.stdout.write(as_json(row, indent=None) + "\n")
        sys.stdout.flush()
        return []

    try:
        read_rows(asked, work)
    except BrokenPipeError:
        # The reader has seen enough, as `head` does. What is still in the buffer goes nowhere.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


async def exported_faces(ctx: Context, user: Users.Model) -> AsyncIterator[dict[str, Any]]:
    """In pages by id, which grows with time: constant memory, and no cursor that dies of old age."""
    last = -1
    while page := await ctx.faces.find(user, {"_id": {"$gt": last}}, sort=[("_id", 1)], limit=PAGE):
        for face in page:
            yield exported_face(face)
        last = page[-1]["_id"]


async def exported_persons(ctx: Context, user: Users.Model) -> AsyncIterator[dict[str, Any]]:
    last = -1
    while page := await ctx.persons.find(user, {"_id": {"$gt": last}}, sort=[("_id", 1)], limit=PAGE):
        for person in page:
            yield await _exported_person(ctx, user, person)
        last = page[-1]["_id"]


async def _exported_person(ctx: Context, user: Users.Model, person: Person) -> dict[str, Any]:
    theirs = {"person_id": person["_id"]}
    first = await ctx.faces.find_one(user, theirs, sort=[("timestamp", 1)])
    last = await ctx.faces.find_one(user, theirs, sort=[("timestamp", -1)])
    return {
        "id": person["_id"],
        "name": person.get("name"),
        "faces": await ctx.faces.count(user, theirs),
        "first_seen": first and first.timestamp,
        "last_seen": last and last.timestamp,
        "last_camera": last and last.get("cam_id"),
        "last_thumbnail": last and last.get("thumbnail"),
    }


COMMANDS = (export,)

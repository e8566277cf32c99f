"""Checks that stored sightings, faces, galleries, persons and pictures agree."""

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import cv2
import numpy as np

from store.collections.users import User
from store.context import Context
from store.face import Face
from store.settings import reference_gallery
from store.uploads.face_pictures import PICTURES
from store.uploads.marker import MARKER


def picture_path(url: str) -> Path:
    """The file behind a file:// URL."""
    return Path(unquote(urlsplit(url).path))


def block(folder: Path) -> None:
    """Makes the folder unwritable: a file takes its place."""
    folder.write_text("in the way")


def unblock(folder: Path) -> None:
    folder.unlink()


def files_below(folder: Path) -> set[Path]:
    """All files except the one with the id of the uploads folder."""
    return {path for path in folder.rglob("*") if path.is_file() and path.name != MARKER}


def assert_pictures_open(face: Face, uploads: Path) -> set[Path]:
    """Photo, aligned face and thumbnail of a face lie in the uploads folder and can be decoded."""
    paths = {picture_path(face[field]) for field in PICTURES}
    assert len(paths) == 3
    for path in paths:
        assert path.is_relative_to(uploads)
        assert cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR) is not None, path
    return paths


async def assert_agreement(ctx: Context, user: User, uploads: Path, sighting_ids: set[str]) -> list[Face]:
    """Each sighting is one face in its galleries, with person and pictures; there is nothing else."""
    faces = await ctx.faces.find(user, None, sort=[("_id", 1)])
    assert sorted(face["sighting_id"] for face in faces) == sorted(sighting_ids)
    pictures: set[Path] = set()
    for face in faces:
        person_gallery = ctx.persons.gallery_of(face["cam_id"])
        # References are also in the gallery of references.
        assert {"default", person_gallery} <= set(face["gallery"])
        assert set(face["gallery"]) <= {"default", person_gallery, reference_gallery(person_gallery)}
        for gallery in face["gallery"]:
            assert face["_id"] in await ctx.facens.ids(user["_id"], gallery)
        pictures |= assert_pictures_open(face, uploads)
    assert files_below(uploads) == pictures
    persons = await ctx.persons.find(user, None)
    assert {person["_id"] for person in persons} == {face["person_id"] for face in faces}
    return faces


async def snapshot(ctx: Context) -> dict[str, list[Any]]:
    """All stored documents, by collection."""
    names = ("users", "faces", "galleries", "cameras", "persons", "counters")
    return {name: await ctx.database[name].find().sort("_id", 1).to_list(None) for name in names}


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"a": value}
    return value

"""What a daemon has stored, read past it: straight from its MongoDB and from the disk."""

import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pymongo

from pipeline.base.files import is_temporary
from pipeline.types import Picture
from store.mongod.embedded import PrivateMongod
from store.mongod.program import find_mongod
from tests.store_checks import files_below, picture_path

PICTURES = ("photo", "normalized", "thumbnail")
UPLOADED = re.compile(r"[0-9a-f]{24}/\d{8}/(\d+)_[0-9a-f]{12}_(photo\.jpeg|norm\.png|thumb\.jpeg)")


def documents(data_dir: Path, collection: str) -> list[dict[str, Any]]:
    """Everything in a collection of the private MongoDB, which has to be running."""
    with pymongo.MongoClient(PrivateMongod(data_dir / "mongod", find_mongod).url, tz_aware=True) as client:
        return list(client["facend"][collection].find().sort("_id", 1))


def opened(url: str) -> Picture:
    """The picture behind a file:// URL."""
    data = picture_path(url).read_bytes()
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None, f"{url} cannot be opened"
    return np.asarray(picture, dtype=np.uint8)


def assert_pictures_are_those_of(faces: list[dict[str, Any]], uploads: Path) -> None:
    """Three pictures a face that open, under names that begin with the face's id, and no others.

    Temporary files, which a kill leaves behind, do not count: nobody is told of them.
    """
    named = {picture_path(face[field]): face["_id"] for face in faces for field in PICTURES}
    assert len(named) == 3 * len(faces)
    on_disk = {path for path in files_below(uploads) if not is_temporary(path)}
    assert on_disk == set(named)
    for path, face_id in named.items():
        match = UPLOADED.fullmatch(path.relative_to(uploads).as_posix())
        assert match, path
        assert int(match[1]) == face_id
        opened(path.as_uri())


def assert_each_stored_once(accepted: list[str], faces: list[dict[str, Any]]) -> None:
    """Every accepted sighting is one face; no sighting is two."""
    stored = [face["sighting_id"] for face in faces]
    assert len(stored) == len(set(stored)), "a sighting was stored twice"
    assert not (lost := set(accepted) - set(stored)), f"accepted and lost: {sorted(lost)}"


def assert_persons_agree(faces: list[dict[str, Any]], persons: list[dict[str, Any]]) -> None:
    """Who has a face exists, and nobody else; a person's faces are in both galleries, and at least one is
    among those that new ones are compared with. Faces that wait for a person are in `default` alone."""
    known = [face for face in faces if face["person_id"] is not None]
    assert {person["_id"] for person in persons} == {face["person_id"] for face in known}
    for face in known:
        galleries = {"default", "persons"}
        assert galleries <= set(face["gallery"]) <= galleries | {"references"}, face["_id"]
    compared = {face["person_id"] for face in known if "references" in face["gallery"]}
    assert compared == {person["_id"] for person in persons}
    assert all(face["gallery"] == ["default"] for face in faces if face["person_id"] is None)


def assert_nothing_is_wrong(folder: Path, accepted: list[str]) -> list[dict[str, Any]]:
    """Faces, persons, pictures and spool agree, once the spool has been emptied; gives the faces."""
    faces = documents(folder / "data", "faces")
    assert_each_stored_once(accepted, faces)
    assert_persons_agree(faces, documents(folder / "data", "persons"))
    assert_pictures_are_those_of(faces, folder / "data" / "uploads")
    assert files_below(folder / "data" / "spool") == set()
    return faces

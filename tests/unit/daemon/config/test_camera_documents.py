"""Cameras as documents: what they hold, and what they must not."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from daemon.config.camera_documents import misspelt, read_camera, read_cameras, to_document
from daemon.config.camera_secrets import CameraSecrets
from daemon.config.collection_cameras import CollectionCameras, read_copy
from daemon.config.secret_references import SecretError
from daemon.config.validation import validate_camera
from daemon.errors import SettingsError

RAW = {
    "id": "door",
    "url": "rtsp://viewer:s3cret@10.0.0.7/user=admin_password=t0p_channel=1.sdp",
    "roi": [[0.1, 0, 0.9, 1], [[0, 0], [1, 0], [1, 1]]],
    "meta": {"floor": 2},
}


@pytest.fixture
def secrets(tmp_path: Path) -> CameraSecrets:
    return CameraSecrets(tmp_path, {})


def test_a_camera_comes_back_from_its_document_with_its_secrets(secrets: CameraSecrets) -> None:
    """The document holds none of them, only names."""
    camera = validate_camera(RAW, "test")
    document = to_document(camera, secrets)
    assert "s3cret" not in str(document) and "t0p" not in str(document)
    assert (document["password_secret"], document["url_secret"]) == ("door", "door.url")
    stored = {**document, "_id": "x", "owner": "y", "schema": 1}
    again = read_camera(stored, secrets)
    assert again == camera
    assert again.connect_url() == camera.connect_url()


def test_documents_are_in_order_of_their_ids(secrets: CameraSecrets) -> None:
    """However MongoDB gives them: an order that changes must not look like a change."""
    documents = [{"id": cam_id, "url": "/clip.mp4"} for cam_id in ("c", "a", "b")]
    assert [camera.id for camera in read_cameras(documents, secrets).cameras] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"url": "rtsp://viewer:s3cret@h/live"}, "url: a document holds no secrets"),
        ({"url": "rtsp://h/live?token=s3cret"}, "url: a document holds no secrets"),
        ({"password": "s3cret"}, "password: expected the name of a secret"),
        ({"secret_end": "s3cret"}, "secret_end: expected the name of a secret"),
        (
            {"user": "viewer", "password_secret": "door"},
            "the secret door is not on this box",
        ),
        ({"user": "viewer", "password_secret": "../token"}, "is not a valid name of a secret"),
        ({"user": "viewer", "password_secret": 7}, "is not a valid name of a secret"),
        ({"max_fps": 0}, "max_fps = 0: "),
        ({"name": "a\0b"}, "name: expected no character NUL"),
        ({"detector": 5}, "detector = 5: "),
    ],
)
def test_a_faulty_document_says_what_is_wrong(
    secrets: CameraSecrets, fields: dict[str, object], problem: str
) -> None:
    """In a line that names the camera and holds no secret."""
    with pytest.raises(SettingsError) as caught:
        read_camera({"id": "door", "url": "rtsp://h/live", **fields}, secrets)
    (line,) = caught.value.problems
    assert line.startswith("the camera door of the collection: ") and problem in line
    assert "s3cret" not in line


def test_a_faulty_document_stands_in_the_way_of_no_other(secrets: CameraSecrets) -> None:
    """Each is refused by itself, with all that is wrong with it; the others are cameras."""
    documents = [
        {"id": "a", "url": "ftp://h"},
        {"id": "b", "url": "/clip.mp4"},
        {"id": "c", "max_fps": 0},
        {"id": 5, "url": "/clip.mp4"},
        {"url": "/clip.mp4"},
        {"id": "b", "url": "/other.mp4"},
        "no mapping",
        {"id": "d", "url": "/clip.mp4", "meta": {"a": [1]}},
        {"id": "e", "url": "/clip.mp4", "roi": "everywhere"},
        {"id": "f", "url": "/clip.mp4"},
    ]
    read = read_cameras(documents, secrets)
    assert [(camera.id, camera.url) for camera in read.cameras] == [("b", "/clip.mp4"), ("f", "/clip.mp4")]
    assert set(read.refused) == {"a", "b", "c", "5", "None", "no mapping", "d", "e"}
    assert "used twice" in read.refused["b"]
    assert "max_fps" in read.refused["c"] and "url: missing" in read.refused["c"]


def test_fields_of_the_users_own_are_no_fault(secrets: CameraSecrets) -> None:
    """A plugin keeps its data beside the camera's; the daemon's copy leaves it out."""
    own = {"group": "lobby", "seen": datetime(2026, 3, 1, tzinfo=UTC), "_internal": b"x", "schema": "odd"}
    read = read_cameras([{"id": "door", "url": "/clip.mp4", "max_fsp": 3, **own}], secrets)
    assert [camera.id for camera in read.cameras] == ["door"] and not read.refused
    assert read.copies == {"door": {"id": "door", "url": "/clip.mp4"}}


def test_a_field_that_looks_like_one_of_ours_is_advised(secrets: CameraSecrets) -> None:
    """It is not refused, since it may be the user's own."""
    assert misspelt({"id": "door", "url": "/x", "max_fsp": 3, "group": "lobby"}) == {"max_fsp": "max_fps"}


def test_the_copy_is_read_back(secrets: CameraSecrets) -> None:
    """What a run writes down is what the next one knows, secrets by their names."""
    camera = validate_camera(RAW, "test")
    read = read_cameras([{**to_document(camera, secrets), "owner": "y"}], secrets)
    again = read_cameras(json.loads(json.dumps(list(read.copies.values()))), secrets)
    assert again == read and again.cameras == (camera,)


class _Store:
    """A collection of cameras that a test writes."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.opened.set()
        self.documents: list[dict[str, Any]] = []
        self.notify: Callable[[], None] = lambda: None

    async def camera_documents(self, box: str) -> list[dict[str, Any]]:
        return self.documents

    async def watch_cameras(self, notify: Callable[[], None]) -> None:
        self.notify = notify
        await asyncio.Event().wait()


@pytest.fixture
async def followed(tmp_path: Path) -> AsyncIterator[tuple[_Store, CollectionCameras, asyncio.Event]]:
    store, changed = _Store(), asyncio.Event()
    collection = CollectionCameras(store, "box", tmp_path, changed.set)
    store.documents = [{"id": "a", "url": "/a.mp4"}, {"id": "b", "url": "/b.mp4"}]
    task = asyncio.create_task(collection.run())
    async with asyncio.timeout(5):
        await changed.wait()
    changed.clear()
    yield store, collection, changed
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_a_camera_whose_document_is_damaged_stays_as_it_was(
    followed: tuple[_Store, CollectionCameras, asyncio.Event], tmp_path: Path
) -> None:
    """The others follow their documents, and the next start knows the camera as it was."""
    store, collection, changed = followed
    store.documents = [
        {"id": "a", "url": "/a.mp4", "max_fps": "fast"},
        {"id": "b", "url": "/b.mp4", "enabled": False},
        {"id": "c", "url": "/c.mp4"},
        {"id": "d", "url": 5},
    ]
    store.notify()
    async with asyncio.timeout(5):
        await changed.wait()
    known = {camera.id: camera for camera in collection.cameras}
    assert set(known) == {"a", "b", "c"} and not known["b"].enabled
    assert set(collection.refused) == {"a", "d"} and "max_fps" in collection.refused["a"]
    assert [camera.id for camera in read_copy(tmp_path).cameras] == ["a", "b", "c"]
    store.documents = [{"id": "b", "url": "/b.mp4"}]
    changed.clear()
    store.notify()
    async with asyncio.timeout(5):
        await changed.wait()
    assert [camera.id for camera in collection.cameras] == ["b"] and not collection.refused


@pytest.mark.parametrize(
    "content",
    ["", "{}", "5", "null", "[[", "[" * 100_000, '{"a": 1}', "\xff", "[NaN]", '"text"'],
)
def test_a_damaged_copy_is_an_error_of_its_own(tmp_path: Path, content: str) -> None:
    """It ends nothing: the daemon asks MongoDB."""
    (tmp_path / "cameras.json").write_bytes(content.encode("latin-1"))
    try:
        assert read_copy(tmp_path).cameras == ()
    except SettingsError as error:
        assert "cameras.json" in str(error)


def test_a_credential_of_systemd_comes_before_the_file(tmp_path: Path) -> None:
    """And nothing outside the two places can be reached."""
    passed = tmp_path / "credentials"
    passed.mkdir()
    (passed / "door").write_text("from-systemd\n")
    secrets = CameraSecrets(tmp_path, {"CREDENTIALS_DIRECTORY": str(passed)})
    secrets.put("door", "of-the-file")
    secrets.put("gate", "of-the-file")
    assert (secrets.get("door"), secrets.get("gate")) == ("from-systemd", "of-the-file")
    secrets.forget("gate")
    secrets.forget("gate")
    with pytest.raises(SecretError):
        secrets.get("gate")
    (tmp_path / "token").write_text("s3cret")
    for name in ("../token", "/etc/hostname", ".", "..", ".hidden", "", "a/b", None):
        with pytest.raises(SecretError, match="not a valid name of a secret"):
            secrets.get(name)

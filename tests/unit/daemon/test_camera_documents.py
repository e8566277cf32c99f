"""Cameras as documents: what they hold, and what they must not."""

from pathlib import Path

import pytest

from daemon.camera_documents import camera_of, cameras_of, document_of
from daemon.camera_secrets import CameraSecrets
from daemon.errors import SettingsError
from daemon.secrets import SecretError
from daemon.settings_file import validate_camera

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
    document = document_of(camera, secrets)
    assert "s3cret" not in str(document) and "t0p" not in str(document)
    assert (document["password_secret"], document["url_secret"]) == ("door", "door.url")
    stored = {**document, "_id": "x", "owner": "y", "schema": 1}
    again = camera_of(stored, secrets)
    assert again == camera
    assert again.connect_url() == camera.connect_url()


def test_documents_are_in_order_of_their_ids(secrets: CameraSecrets) -> None:
    """However MongoDB gives them: an order that changes must not look like a change."""
    documents = [{"id": cam_id, "url": "/clip.mp4"} for cam_id in ("c", "a", "b")]
    assert [camera.id for camera in cameras_of(documents, secrets)] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"url": "rtsp://viewer:s3cret@h/live"}, "url: a document holds no secret"),
        ({"url": "rtsp://h/live?token=s3cret"}, "url: a document holds no secret"),
        ({"password": "s3cret"}, "password: a document holds no secret"),
        ({"secret_end": "s3cret"}, "secret_end: a document holds no secret"),
        (
            {"user": "viewer", "password_secret": "door"},
            "the secret door is not on this box",
        ),
        ({"user": "viewer", "password_secret": "../token"}, "is no name of a secret"),
        ({"user": "viewer", "password_secret": 7}, "is no name of a secret"),
        ({"max_fps": 0}, "max_fps = 0: "),
        ({"max_fsp": 3}, "max_fsp: unknown key; did you mean max_fps?"),
    ],
)
def test_a_faulty_document_says_what_is_wrong(
    secrets: CameraSecrets, fields: dict[str, object], problem: str
) -> None:
    """In a line that names the camera and holds no secret."""
    with pytest.raises(SettingsError) as caught:
        camera_of({"id": "door", "url": "rtsp://h/live", **fields}, secrets)
    (line,) = caught.value.problems
    assert line.startswith("the camera door of the collection: ") and problem in line
    assert "s3cret" not in line


def test_every_fault_of_every_document_is_told(secrets: CameraSecrets) -> None:
    """Not the first one alone."""
    documents = [{"id": "a", "url": "ftp://h"}, {"id": "b", "url": "/clip.mp4"}, {"id": "c", "max_fps": 0}]
    with pytest.raises(SettingsError) as caught:
        cameras_of(documents, secrets)
    assert [line.split()[2] for line in caught.value.problems] == ["a", "c", "c"]


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
        with pytest.raises(SecretError, match="no name of a secret"):
            secrets.get(name)

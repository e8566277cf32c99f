"""Ids, names and keys that come from outside: none reaches anything outside the data folder."""

import tempfile
from pathlib import Path
from urllib.parse import quote

import pytest
from bson import ObjectId
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from cameras.settings import CameraSettings
from daemon.config.camera_secrets import CameraSecrets
from daemon.config.secret_references import SecretError
from store.collections.cameras import ID
from store.collections.galleries import checked_name
from store.collections.server_faces import ServerFaces
from store.errors import BadValueError
from store.mongo.guard import checked_id
from store.uploads.folder import FolderUploads

OUTSIDE = b"not theirs"

names = st.text(max_size=80) | st.lists(
    st.sampled_from(["..", ".", "/", "\\", "%2e", "%2f", "\0", "\n", "a", "_photo.jpeg", "~", "secret", "é"]),
    max_size=8,
).map("".join)


@given(cam_id=names)
def test_an_id_of_a_camera_is_a_plain_word(cam_id: str) -> None:
    """Settings and collection agree about which are taken, and none of them is a way anywhere."""
    try:
        CameraSettings.model_validate({"id": cam_id, "url": "rtsp://h/"})
    except ValidationError:
        assert not ID.fullmatch(cam_id)
        return
    assert ID.fullmatch(cam_id)
    assert Path("/data", cam_id).parts == ("/", "data", cam_id)


@given(name=names | st.integers() | st.none())
def test_a_gallerys_name_is_a_plain_word(name: object) -> None:
    """Names of galleries stand in URLs, files and commands."""
    try:
        taken = checked_name(name)
    except BadValueError:
        return
    assert Path("/data", taken).parts == ("/", "data", taken)
    assert taken == name == quote(taken)


@given(person_id=names | st.integers() | st.floats() | st.binary(max_size=9) | st.booleans() | st.none())
def test_an_id_of_a_person_is_a_number(person_id: object) -> None:
    """From 0 to 2^63 − 1, and nothing that merely looks like one."""
    try:
        taken = checked_id(person_id, "person")
    except BadValueError:
        return
    assert type(taken) is int
    assert 0 <= taken < 2**63


@given(name=names)
@settings(max_examples=50)
def test_no_secret_outside_its_folder_is_read_written_or_removed(name: str) -> None:
    """Writers of the cameras collection can refer to secrets, but not to other files."""
    with tempfile.TemporaryDirectory() as folder:
        outside = Path(folder, "secret")
        outside.write_bytes(OUTSIDE)
        secrets = CameraSecrets(Path(folder, "data"), {"CREDENTIALS_DIRECTORY": f"{folder}/credentials"})
        try:
            secrets.put(name, "new")
        except SecretError:
            with pytest.raises(SecretError):
                secrets.get(name)
        else:
            assert secrets.get(name) == "new"
            assert [path.name for path in Path(folder, "data", "secrets").iterdir()] == [name]
        secrets.forget(name)
        assert not list(Path(folder, "data").glob("secrets/*"))
        assert outside.read_bytes() == OUTSIDE


@given(suffix=names, key=names)
def test_no_picture_lies_outside_the_uploads(suffix: str, key: str) -> None:
    """Neither a caller's suffix, nor a key or URL that a document holds, leads out of the folder."""
    uploads = FolderUploads(Path("/data/uploads"))
    made = ServerFaces.gen_ffupload_key({"owner": ObjectId(), "_id": 1}, suffix)
    for one in (made, key, uploads.key_of(f"file:///data/uploads/{key}")):
        try:
            path = uploads.path_of(one or "..")
        except ValueError:
            continue
        assert path.resolve().is_relative_to("/data/uploads")
        assert uploads.key_of(uploads.url_of(one or "..")) == one

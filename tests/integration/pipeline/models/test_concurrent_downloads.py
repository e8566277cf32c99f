"""Several processes fetch the same model pack."""

import hashlib
import multiprocessing
from dataclasses import replace
from pathlib import Path

from pipeline.models.pack_files import fetch, resolve
from pipeline.models.packs import Folder, ModelFile

CONTENT = b"weights" * 1000


def fetch_small_pack(source: Path, models: Path) -> None:
    file = ModelFile("model.onnx", hashlib.sha256(CONTENT).hexdigest(), len(CONTENT), (Folder(source),))
    fetch(replace(resolve("opencv-zoo", models), name="small", files=(file,)), models)


def test_concurrent_fetches_of_a_pack_succeed(tmp_path: Path) -> None:
    """The file is complete."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "model.onnx").write_bytes(CONTENT)
    context = multiprocessing.get_context("spawn")
    args = (source, tmp_path / "models")
    processes = [context.Process(target=fetch_small_pack, args=args) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert (tmp_path / "models" / "small" / "model.onnx").read_bytes() == CONTENT

"""A model pack of one small file, from the sources that a test chooses."""

import hashlib
from dataclasses import replace
from pathlib import Path

from pipeline.models.pack_files import resolve
from pipeline.models.packs import Folder, ModelFile, Pack, Source

CONTENT = b"weights" * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def pack_of(*sources: Source) -> Pack:
    """A pack of one small file that comes from these sources."""
    file = ModelFile("model.onnx", DIGEST, len(CONTENT), sources)
    return replace(resolve("opencv-zoo", Path("/nowhere")), name="small", files=(file,))


def folder_with(path: Path, content: bytes) -> Folder:
    path.mkdir()
    (path / "model.onnx").write_bytes(content)
    return Folder(path)

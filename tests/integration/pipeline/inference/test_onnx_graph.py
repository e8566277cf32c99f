"""Rewritten graphs compute the same, and accept input that the originals refuse."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from pipeline.errors import ModelError
from pipeline.inference.onnx_graph import rewrite_model
from pipeline.inference.runtime import OnnxRuntime
from pipeline.models.loader import Models
from tests.faces import models_dir


def test_rewriting_does_not_change_the_output(models: Models) -> None:
    """SFace with constant weights and without PReLU."""
    path = models_dir() / models.pack.name / models.pack.files[1].name
    blob = np.random.default_rng(2).uniform(0, 255, (2, 3, 112, 112)).astype(np.float32)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    original = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    expected = np.concatenate([original.run(None, {"data": one[None]})[0] for one in blob])
    clean = rewrite_model(path)
    assert "PRelu" in {node.op_type for node in onnx.load(path).graph.node}
    assert "PRelu" not in {node.op_type for node in onnx.load_from_string(clean).graph.node}
    session = OnnxRuntime().load(clean, "SFace")
    assert session.input_shape == (1, 3, 112, 112)
    given = np.concatenate([session.run(one[None])["fc1"] for one in blob])
    np.testing.assert_allclose(given, expected, rtol=1e-4, atol=1e-4)


def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    """Missing, random or empty: a ModelError with its path."""
    with pytest.raises(ModelError, match=r"none\.onnx cannot be read"):
        rewrite_model(tmp_path / "none.onnx")
    for number, content in enumerate((b"", b"random bytes", bytes(range(256)) * 4)):
        path = tmp_path / f"{number}.onnx"
        path.write_bytes(content)
        with pytest.raises(ModelError, match=rf"{number}\.onnx is not an ONNX model"):
            rewrite_model(path)


def test_an_unknown_provider_is_named() -> None:
    """A provider that this machine's ONNX Runtime lacks is an error that says which ones it has."""
    with pytest.raises(ModelError, match=r"no MadeUpProvider; it has .*CPUExecutionProvider"):
        OnnxRuntime(providers=["MadeUpProvider"])


def test_a_model_that_cannot_be_loaded_is_named() -> None:
    """A model that ONNX Runtime cannot load is named."""
    with pytest.raises(ModelError, match="cannot load the little one"):
        OnnxRuntime().load(b"junk", "the little one")

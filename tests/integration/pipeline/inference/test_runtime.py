"""Another inference runtime can replace ONNX Runtime through the protocol."""

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest

from pipeline.errors import ModelError
from pipeline.inference.runtime import Tensor
from pipeline.models.loader import Models, load
from pipeline.models.packs import Engine
from tests.faces import models_dir

STRIDES = (8, 16, 32)
CHANNELS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}


class ScriptedDetector:
    """YuNet that sees one face of 32 × 32 pixels, at column 4 and row 3 of its coarsest grid."""

    input_shape = (1, 3, None, None)
    output_shapes: ClassVar = {
        f"{head}_{stride}": (1, None, size) for head, size in CHANNELS.items() for stride in STRIDES
    }

    def run(self, blob: Tensor) -> dict[str, Tensor]:
        height, width = blob.shape[2:]
        outputs = {
            f"{head}_{stride}": np.zeros((1, height * width // stride**2, size), np.float32)
            for head, size in CHANNELS.items()
            for stride in STRIDES
        }
        cell = 3 * (width // 32) + 4
        outputs["cls_32"][0, cell] = outputs["obj_32"][0, cell] = 1
        return outputs


class ScriptedEmbedder:
    """Gives every face the same facen, not normalised."""

    input_shape = (1, 3, 112, 112)
    output_shapes: ClassVar = {"fc1": (1, 128)}

    def run(self, _blob: Tensor) -> dict[str, Tensor]:
        return {"fc1": np.full((1, 128), 2, np.float32)}


class ScriptedRuntime:
    name = "scripted"

    def __init__(self) -> None:
        self.labels: list[str] = []

    def load(self, _model: bytes, label: str) -> ScriptedDetector | ScriptedEmbedder:
        self.labels.append(label)
        return ScriptedDetector() if "yunet" in label else ScriptedEmbedder()


def test_a_pack_runs_in_another_runtime(models: Models) -> None:
    """Detector and embedder use its sessions, and the models have its name."""
    runtime = ScriptedRuntime()
    loaded = load(models.pack, models_dir(), runtime=runtime)
    (face,) = loaded.detector.detect(np.zeros((320, 480, 3), np.uint8))
    assert face.bbox == (112, 80, 144, 112)
    assert face.score == 1
    facens = loaded.embedder.embed([np.zeros((112, 112, 3), np.uint8)])
    assert np.allclose(facens, 128**-0.5)
    assert loaded.runtime == "scripted"
    assert models.runtime == "onnxruntime"
    assert [label.rpartition("/")[2] for label in runtime.labels] == [file.name for file in models.pack.files]


def test_insightface_needs_onnx_runtime(models: Models) -> None:
    """The error names the pack and the runtime."""
    pack = replace(models.pack, engine=Engine.INSIGHTFACE, directory=models_dir() / models.pack.name)
    with pytest.raises(ModelError, match=r"opencv-zoo runs in ONNX Runtime only, not in scripted"):
        load(pack, models_dir(), runtime=ScriptedRuntime())

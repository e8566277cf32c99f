"""Adapts insightface's model packs, by name or as a directory, to the detector and embedder protocols.

insightface selects, loads and runs the models itself (`FaceAnalysis`). It is imported on use, because it
loads slowly.
"""

import contextlib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from pipeline.errors import ModelError
from pipeline.faces.alignment import ALIGNED_SIZE
from pipeline.faces.attributes import Attributes, load_attributes
from pipeline.faces.embedder import normalised
from pipeline.inference.runtime import OnnxRuntime, Tensor
from pipeline.types import Detection, Picture, Rectangle

_MIN_SCORE = 0.3
"""Low, because low-score faces may continue a track."""


def model_folder(name: str, models_dir: Path) -> Path:
    """The folder of a named pack."""
    folder = models_dir / "insightface" / "models" / name
    # Some archives contain a folder of the same name.
    inner = folder / name
    return inner if inner.is_dir() else folder


def fetch_named(name: str, models_dir: Path) -> None:
    """Download a pack through insightface. Raises ModelError if that fails."""
    from insightface.utils.storage import download

    target = models_dir / "insightface" / "models" / name
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=models_dir) as scratch:
        try:
            # insightface prints progress to stdout, which may carry JSON.
            with contextlib.redirect_stdout(sys.stderr):
                folder = Path(download("models", name, root=scratch))
        except Exception as error:
            # insightface, requests, zipfile and the file system raise unrelated types.
            raise ModelError(
                f"insightface could not download its pack {name!r} ({type(error).__name__}: {error}); "
                f"unpack it by hand into {target}"
            ) from error
        folder.replace(target)


def facen_size_of(directory: Path) -> int:
    """The facen size of the recognition model in a directory. Raises ModelError if there is no such model.

    As in insightface, a recognition model has one input of 112 × 112 pixels and one output vector.
    """
    for path in sorted(directory.glob("*.onnx")):
        graph = _graph(path)
        weights = {weight.name for weight in graph.initializer}
        inputs = [_shape(value) for value in graph.input if value.name not in weights]
        outputs = [_shape(value) for value in graph.output]
        if len(inputs) == 1 and inputs[0][-2:] == [ALIGNED_SIZE] * 2 and len(outputs) == 1:
            return outputs[0][-1]
    raise ModelError(
        f"the model directory {directory} has no recognition model ({ALIGNED_SIZE} × {ALIGNED_SIZE} ONNX)"
    )


def load_insightface(
    directory: Path, runtime: OnnxRuntime
) -> "tuple[InsightFaceDetector, InsightFaceDetector | None, InsightFaceEmbedder, Attributes | None]":
    """Load the detector, the detector for small cut-outs (if its input size is variable), the embedder, and
    the attributes (if the pack has a model for them). Raises ModelError if the pack is incomplete."""
    from insightface.app import FaceAnalysis

    if not any(directory.glob("*.onnx")):
        raise ModelError(f"the model directory {directory} has no .onnx files")
    try:
        analysis = FaceAnalysis(
            name=str(directory),
            allowed_modules=["detection", "recognition", "genderage"],
            providers=list(runtime.providers),
            sess_options=runtime.options(),
        )
        analysis.prepare(ctx_id=0, det_thresh=_MIN_SCORE)
    except Exception as error:
        # insightface raises AssertionError and unrelated types of onnx and ONNX Runtime.
        raise ModelError(f"insightface cannot load the pack in {directory}: {error}") from error
    if "recognition" not in analysis.models:
        raise ModelError(f"the pack in {directory} has no recognition model")
    detector = analysis.det_model
    genderage = analysis.models.get("genderage")
    return (
        InsightFaceDetector(detector, None),
        InsightFaceDetector(detector, (128, 128)) if detector.static_input_size is None else None,
        InsightFaceEmbedder(analysis.models["recognition"]),
        load_attributes(None if genderage is None else Path(genderage.model_file), None, runtime),
    )


class InsightFaceDetector:
    """A detector of insightface. `input_size`: (width, height); None for insightface's default."""

    # insightface has no type hints.
    def __init__(self, model: Any, input_size: tuple[int, int] | None) -> None:  # noqa: ANN401
        self._model = model
        self._input_size = input_size

    def detect(self, picture: Picture) -> list[Detection]:
        boxes, landmarks = self._model.detect(picture, input_size=self._input_size)
        if landmarks is None:
            raise ModelError("this detector of insightface returns no landmarks; faces cannot be aligned")
        faces = [
            Detection(Rectangle(*(float(v) for v in box[:4])), float(box[4]), np.asarray(points, np.float32))
            for box, points in zip(boxes, landmarks, strict=True)
        ]
        return sorted(faces, key=lambda face: -face.score)


class InsightFaceEmbedder:
    """A recognition model of insightface."""

    def __init__(self, model: Any) -> None:  # noqa: ANN401 - see above
        self._model = model

    @property
    def size(self) -> int:
        return int(self._model.output_shape[-1])

    def embed(self, faces: Sequence[Picture]) -> Tensor:
        if not faces:
            return np.empty((0, self.size), np.float32)
        return normalised(np.concatenate([np.asarray(self._model.get_feat([face])) for face in faces]))


def _graph(path: Path) -> onnx.GraphProto:
    try:
        return onnx.load(path, load_external_data=False).graph
    except Exception as error:
        # protobuf has an error type of its own in each of its implementations.
        raise ModelError(f"{path} is not an ONNX model ({type(error).__name__})") from error


def _shape(value: onnx.ValueInfoProto) -> list[int]:
    return [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]

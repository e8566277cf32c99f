"""Estimates gender, age and emotions of a face with optional models."""

from pathlib import Path
from typing import Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.faces.alignment import ALIGNED_SIZE
from pipeline.inference.onnx_graph import rewrite_model
from pipeline.inference.runtime import InferenceSession, OnnxRuntime, Runtime, Tensor
from pipeline.types import Emotions, FaceAttributes, Picture, Rectangle

_ZOO_ORDER = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
"""Order of the outputs of OpenCV Zoo's expression model."""


class Attributes(Protocol):
    """Estimates the attributes of a face. Thread-safe."""

    def describe(self, picture: Picture, bbox: Rectangle, aligned: Picture) -> FaceAttributes:
        """The attributes of the face in this box of a BGR picture; `aligned` is 112 × 112, BGR."""
        ...


class GenderAge:
    """insightface's `genderage` model (research licence), run by insightface's code. Raises ModelError if the
    file contains another model."""

    def __init__(self, path: Path, runtime: OnnxRuntime) -> None:
        # Imported on use: insightface loads slowly.
        from insightface.model_zoo.attribute import Attribute

        session = runtime.load(rewrite_model(path), str(path))
        outputs = list(session.output_shapes.values())
        if len(session.input_shape) != 4 or len(outputs) != 1 or outputs[0][-1] != 3:
            raise ModelError(
                f"{path} is not a model for gender and age: input {session.input_shape}, outputs {outputs}"
            )
        self._model = Attribute(model_file=str(path), session=session.native)

    def predict(self, picture: Picture, bbox: Rectangle) -> tuple[Literal["male", "female"], float]:
        gender, age = self._model.get(picture, _InsightFace(np.array(bbox, dtype=np.float32)))
        return "male" if int(gender) == 1 else "female", float(age)


class _InsightFace(dict[str, object]):
    """The part of insightface's class Face that its attribute model uses."""

    def __init__(self, bbox: NDArray[np.float32]) -> None:
        super().__init__()
        self.bbox = bbox


class Expression:
    """OpenCV Zoo's `facial_expression_recognition_mobilefacenet_2022july` (Apache-2.0). Input: the aligned
    face in RGB, −1 to 1; output: seven scores."""

    def __init__(self, session: InferenceSession) -> None:
        outputs = list(session.output_shapes.values())
        side = (3, ALIGNED_SIZE, ALIGNED_SIZE)
        if session.input_shape[1:] != side or len(outputs) != 1 or outputs[0][-1] != len(_ZOO_ORDER):
            raise ModelError(
                f"this is not a model for emotions: input {session.input_shape}, outputs {outputs}"
            )
        self._session = session

    def predict(self, aligned: Picture) -> Emotions:
        size = (ALIGNED_SIZE, ALIGNED_SIZE)
        middle = (127.5, 127.5, 127.5)
        blob = np.asarray(
            cv2.dnn.blobFromImage(aligned, 1 / 127.5, size, middle, swapRB=True), dtype=np.float32
        )
        (rows,) = self._session.run(blob).values()
        return Emotions(**dict(zip(_ZOO_ORDER, (float(p) for p in _softmax(rows[0])), strict=True)))


class ModelAttributes:
    """The attributes that the loaded models estimate."""

    def __init__(self, genderage: GenderAge | None, expression: Expression | None) -> None:
        self._genderage = genderage
        self._expression = expression

    def describe(self, picture: Picture, bbox: Rectangle, aligned: Picture) -> FaceAttributes:
        gender, age = self._genderage.predict(picture, bbox) if self._genderage else (None, None)
        emotions = self._expression.predict(aligned) if self._expression else None
        return FaceAttributes(gender, age, emotions)


def load_attributes(genderage: Path | None, emotions: Path | None, runtime: Runtime) -> Attributes | None:
    """Load the attribute models in these files; None if no file is given.

    Raises:
        ModelError: a file contains another model, or the runtime cannot run it.
    """
    if genderage is None and emotions is None:
        return None
    model = None
    if genderage is not None:
        if not isinstance(runtime, OnnxRuntime):
            raise ModelError(f"insightface runs {genderage} in ONNX Runtime only, not in {runtime.name}")
        model = GenderAge(genderage, runtime)
    expression = (
        None if emotions is None else Expression(runtime.load(rewrite_model(emotions), str(emotions)))
    )
    return ModelAttributes(model, expression)


def _softmax(scores: Tensor) -> NDArray[np.float64]:
    powers = np.exp(scores.astype(np.float64) - float(scores.max()))
    return np.asarray(powers / powers.sum())

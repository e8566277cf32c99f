"""The optional models for gender, age and emotions, run as real ONNX models with known weights."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pipeline.errors import ModelError
from pipeline.extractor import FaceExtractor
from pipeline.faces.attributes import load_attributes
from pipeline.inference.runtime import OnnxRuntime
from pipeline.types import Emotions, Rectangle
from tests.faces import default_models, portrait


def averaging_model(path: Path, side: int, weights: np.ndarray, bias: np.ndarray) -> Path:
    """A model whose outputs are linear in the mean of each channel of its input."""
    nodes = [
        # insightface takes a model with Sub and Mul in front for one that scales by itself.
        helper.make_node("Sub", ["data", "zero"], ["sub"], "Sub_0"),
        helper.make_node("Mul", ["sub", "one"], ["mul"], "Mul_0"),
        helper.make_node("GlobalAveragePool", ["mul"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weights", "bias"], ["out"], transB=1),
    ]
    values = {"zero": [0], "one": [1], "weights": weights, "bias": bias}
    graph = helper.make_graph(
        nodes,
        "averaging",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, [1, 3, side, side])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, len(bias)])],
        [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in values.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)
    onnx.save(model, path)
    return path


BLUE = np.full((200, 200, 3), (250, 20, 10), np.uint8)
RED = np.full((200, 200, 3), (10, 20, 250), np.uint8)
BOX = Rectangle(80, 80, 120, 120)


@pytest.fixture
def genderage(tmp_path: Path) -> Path:
    """Red is male, blue female; the age is 0.2 of the mean of red."""
    weights = np.array([[0, 0, 1], [1, 0, 0], [0.002, 0, 0]])
    return averaging_model(tmp_path / "genderage.onnx", 96, weights, np.zeros(3))


@pytest.fixture
def emotions(tmp_path: Path) -> Path:
    """The redder, the angrier; the bluer, the sadder."""
    weights = np.zeros((7, 3))
    weights[0, 0], weights[5, 2] = 3, 3
    return averaging_model(tmp_path / "emotions.onnx", 112, weights, np.zeros(7))


def test_gender_and_age_are_estimated_from_rgb(genderage: Path) -> None:
    """The channels are in the order red, green, blue; the age is in years."""
    attributes = load_attributes(genderage, None, OnnxRuntime())
    assert attributes is not None
    red = attributes.describe(RED, BOX, RED[:112, :112])
    assert (red.gender, red.age, red.emotions) == ("male", 50, None)
    blue = attributes.describe(BLUE, BOX, BLUE[:112, :112])
    assert (blue.gender, blue.age) == ("female", 2)


def test_emotions_are_probabilities(emotions: Path) -> None:
    """Their sum is 1; the two most prevalent ones come first."""
    attributes = load_attributes(None, emotions, OnnxRuntime())
    assert attributes is not None
    told = attributes.describe(RED, BOX, RED[:112, :112])
    assert told.gender is None
    assert isinstance(told.emotions, Emotions)
    assert sum(told.emotions) == pytest.approx(1)
    assert told.emotions.prevalent()[0] == "angry"
    sad = attributes.describe(BLUE, BOX, BLUE[:112, :112]).emotions
    assert sad is not None and sad.prevalent()[0] == "sad"


def test_a_model_of_another_kind_is_refused(genderage: Path, emotions: Path) -> None:
    """When it is loaded, with its path."""
    with pytest.raises(ModelError, match="not a model for gender and age"):
        load_attributes(emotions, None, OnnxRuntime())
    with pytest.raises(ModelError, match="not a model for emotions"):
        load_attributes(None, genderage, OnnxRuntime())


def test_attributes_are_optional() -> None:
    """Attributes are optional."""
    assert load_attributes(None, None, OnnxRuntime()) is None


def test_the_extractor_adds_attributes(genderage: Path, emotions: Path) -> None:
    """Gender, age and emotions of each face."""
    models = replace(default_models(), attributes=load_attributes(genderage, emotions, OnnxRuntime()))
    (face,) = FaceExtractor(models).extract(portrait(2, 80))
    assert face["gender"] == "male"  # the picture is warm in colour
    assert 5 < face["age"] < 50
    assert len(face["emotions"]) == 7

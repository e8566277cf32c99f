"""Model graphs made fit for an inference session, in memory; the files stay as they are.

Two habits of exporters get in the way. Weights that are listed among the graph's inputs are taken for values
that may change, so the runtime neither folds nor fuses them. And sizes that were fixed when the model was
exported (640 × 640 pixels) are fixed for ever, although nothing in the graph needs it.
Both are only declarations: taking them away changes no number that the model computes.

And a PReLU is written as operations for which ONNX Runtime has fast code: its own takes the numbers one by
one, which was half of the time of SFace. The result is the same but for the last digit.
"""

from collections.abc import Iterable, Iterator, MutableSequence
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from pipeline.errors import ModelError


def cleaned(path: Path, *, free_size: bool = False) -> bytes:
    """The model in `path`, serialised, with weights that are constants.

    `free_size` lets the height and width of the inputs vary, and the number of cells of the outputs. It is
    right only for graphs in which no operation names these sizes. ModelError where the file is no ONNX model.
    """
    try:
        model = onnx.load(path)
    except OSError as error:
        raise ModelError(f"the model file {path} cannot be read: {error.strerror or error}") from error
    except Exception as error:
        # protobuf has an error type of its own in each of its implementations.
        raise ModelError(f"{path} is no ONNX model ({type(error).__name__}); fetch it again") from error
    graph = model.graph
    weights = {weight.name for weight in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    if not inputs or not graph.output:
        raise ModelError(f"{path} is no ONNX model with inputs and outputs; fetch it again")
    del graph.input[:]
    graph.input.extend(inputs)
    if free_size:
        for value in graph.input:
            _free(value, {2: "height", 3: "width"})
        for value in graph.output:
            _free(value, {1: f"{value.name}_cells"})
        # Sizes that the exporter noted between the nodes were computed for the old input.
        del graph.value_info[:]
    nodes = list(_without_prelu(graph.node, graph.initializer))
    del graph.node[:]
    graph.node.extend(nodes)
    return bytes(model.SerializeToString())


def _without_prelu(
    nodes: Iterable[onnx.NodeProto], weights: MutableSequence[onnx.TensorProto]
) -> Iterator[onnx.NodeProto]:
    """The nodes, with PReLU(x) = slope · x + (1 - slope) · max(x, 0) where the slope is a weight."""
    known = {weight.name: weight for weight in weights}
    for node in nodes:
        slope = known.get(node.input[1]) if node.op_type == "PRelu" else None
        if slope is None:
            yield node
            continue
        (x, _), (y,) = node.input, node.output
        rest, positive, bent, above = (f"{y}/{part}" for part in ("rest", "positive", "bent", "above"))
        values = numpy_helper.to_array(slope)
        weights.append(numpy_helper.from_array(np.asarray(1 - values, values.dtype), rest))
        yield helper.make_node("Mul", [x, slope.name], [bent])
        yield helper.make_node("Relu", [x], [positive])
        yield helper.make_node("Mul", [positive, rest], [above])
        yield helper.make_node("Add", [bent, above], [y])


def _free(value: onnx.ValueInfoProto, names: dict[int, str]) -> None:
    dimensions = value.type.tensor_type.shape.dim
    for axis, name in names.items():
        dimensions[axis].dim_param = name

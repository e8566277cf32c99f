"""Rewrites ONNX graphs in memory before they are loaded; the files are not changed.

Weights that exporters list among the inputs become constants, so that the runtime can fold and fuse them.
Fixed input sizes (640 × 640) become variable if the graph does not depend on them. The results stay the same.

PReLU is replaced by operations that ONNX Runtime vectorises; its own PReLU took half of SFace's time. Results
differ by a rounding error at most.
"""

from collections.abc import Iterable, Iterator, MutableSequence
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from pipeline.errors import ModelError


def rewrite_model(path: Path, *, free_size: bool = False) -> bytes:
    """Load and rewrite the model in `path`; returns it serialised.

    `free_size`: make height and width of the inputs and the number of output cells variable; only for graphs
    in which no operation depends on these sizes.

    Raises:
        ModelError: the file is not an ONNX model.
    """
    try:
        model = onnx.load(path)
    except OSError as error:
        raise ModelError(f"the model file {path} cannot be read: {error.strerror or error}") from error
    except Exception as error:
        # Each implementation of protobuf raises another type.
        raise ModelError(f"{path} is not an ONNX model ({type(error).__name__}); fetch it again") from error
    graph = model.graph
    weights = {weight.name for weight in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    if not inputs or not graph.output:
        raise ModelError(f"{path} is not an ONNX model with inputs and outputs; fetch it again")
    del graph.input[:]
    graph.input.extend(inputs)
    if free_size:
        for value in graph.input:
            _free(value, {2: "height", 3: "width"})
        for value in graph.output:
            _free(value, {1: f"{value.name}_cells"})
        # The stored intermediate shapes are those of the old input size.
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

"""Model graphs made fit for an inference session, in memory; the files stay as they are.

Two habits of exporters get in the way. Weights that are listed among the graph's inputs are taken for values
that may change, so the runtime neither folds nor fuses them. And sizes that were fixed when the model was
exported (one picture a batch, 640 × 640 pixels) are fixed for ever, although nothing in the graph needs it.
Both are only declarations: taking them away changes no number that the model computes.
"""

from pathlib import Path

import onnx

from pipeline.errors import ModelError


def cleaned(path: Path, *, free_batch: bool = False, free_size: bool = False) -> bytes:
    """The model in `path`, serialised, with weights that are constants.

    `free_batch` lets the first dimension of every input and output vary; `free_size` also the height and
    width of the inputs and every dimension of the outputs but the last. Both are right only for graphs in
    which no operation names these sizes. ModelError where the file is no ONNX model.
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
    if free_batch:
        for value in [*graph.input, *graph.output]:
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
    if free_size:
        for value in graph.input:
            _free(value, {2: "height", 3: "width"})
        for value in graph.output:
            _free(value, {1: f"{value.name}_cells"})
        # Sizes that the exporter noted between the nodes were computed for the old input.
        del graph.value_info[:]
    return bytes(model.SerializeToString())


def _free(value: onnx.ValueInfoProto, names: dict[int, str]) -> None:
    dimensions = value.type.tensor_type.shape.dim
    for axis, name in names.items():
        dimensions[axis].dim_param = name

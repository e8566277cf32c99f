"""The inference session: what the pipeline asks of a runtime, and ONNX Runtime as the one that answers."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from pipeline.errors import ModelError

Tensor = NDArray[np.float32]


class InferenceSession(Protocol):
    """A loaded model with one input. Thread-safe."""

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """Sizes of the input; None where any size will do."""
        ...

    @property
    def output_shapes(self) -> dict[str, tuple[int | None, ...]]:
        """Sizes of each output by its name, in the model's order."""
        ...

    def run(self, blob: Tensor) -> dict[str, Tensor]:
        """All outputs by name."""
        ...


class OnnxSession:
    """A model in ONNX Runtime.

    `model` is a serialised model (see `pipeline.inference.onnx_graph`), `name` is what errors call it.
    `threads` work on one run. `providers` are ONNX Runtime's names, the first that can take an operation
    takes it.
    """

    def __init__(
        self,
        model: bytes,
        name: str,
        threads: int = 1,
        providers: Sequence[str] = ("CPUExecutionProvider",),
    ) -> None:
        missing = set(providers) - set(onnxruntime.get_available_providers())
        if missing:
            raise ModelError(
                f"ONNX Runtime here has no {', '.join(sorted(missing))}; "
                f"it has {', '.join(onnxruntime.get_available_providers())}"
            )
        try:
            self._session = onnxruntime.InferenceSession(model, session_options(threads), list(providers))
        except Exception as error:
            # ONNX Runtime raises a dozen types that share no parent but Exception.
            raise ModelError(f"ONNX Runtime cannot load {name}: {error}") from error
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            raise ModelError(f"{name} has {len(inputs)} inputs ({', '.join(i.name for i in inputs)}), not 1")
        self._input: str = inputs[0].name
        self._input_shape = _sizes(inputs[0].shape)
        self._output_shapes = {output.name: _sizes(output.shape) for output in self._session.get_outputs()}

    @property
    def native(self) -> "onnxruntime.InferenceSession":
        """ONNX Runtime's own session, for code that asks for one."""
        return self._session

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        return self._input_shape

    @property
    def output_shapes(self) -> dict[str, tuple[int | None, ...]]:
        return self._output_shapes

    def run(self, blob: Tensor) -> dict[str, Tensor]:
        values = self._session.run(None, {self._input: blob})
        return dict(zip(self._output_shapes, values, strict=True))


def session_options(threads: int) -> "onnxruntime.SessionOptions":
    """ONNX Runtime's options for a service that shares its machine."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors; the warnings are about the exporter's style
    # Its threads otherwise spin while they wait for the next run, and take the core from the decoders.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _sizes(shape: Sequence[int | str | None]) -> tuple[int | None, ...]:
    return tuple(size if isinstance(size, int) else None for size in shape)

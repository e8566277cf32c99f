"""The inference runtime as a protocol, and its implementation by ONNX Runtime."""

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
        """Shape of the input; None for a dimension of any size."""
        ...

    @property
    def output_shapes(self) -> dict[str, tuple[int | None, ...]]:
        """Shape of each output by its name, in the model's order."""
        ...

    def run(self, blob: Tensor) -> dict[str, Tensor]:
        """All outputs by name."""
        ...


class Runtime(Protocol):
    """Loads models into sessions. The pipeline uses a runtime only through this protocol."""

    @property
    def name(self) -> str:
        """Name in the metric `facend_build_info`."""
        ...

    def load(self, model: bytes, label: str) -> InferenceSession:
        """Load a serialised ONNX model (see `pipeline.inference.onnx_graph`).

        `label`: name of the model in errors. Raises ModelError if the model cannot be loaded.
        """
        ...


class OnnxRuntime:
    """ONNX Runtime. This is the only module that imports it.

    threads: number of threads per inference. providers: execution providers by ONNX Runtime's names; each
    operation is run by the first one that supports it.
    """

    name = "onnxruntime"

    def __init__(self, threads: int = 1, providers: Sequence[str] = ("CPUExecutionProvider",)) -> None:
        available = onnxruntime.get_available_providers()
        if missing := set(providers) - set(available):
            raise ModelError(
                f"ONNX Runtime here has no {', '.join(sorted(missing))}; it has {', '.join(available)}"
            )
        self.providers = tuple(providers)
        self._threads = threads

    def load(self, model: bytes, label: str) -> "OnnxSession":
        return OnnxSession(model, label, self.options(), self.providers)

    def options(self) -> "onnxruntime.SessionOptions":
        """Session options for a service that shares the processor with decoding."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors; the warnings are about the exporter's style
        # Threads that spin while they wait for the next run would take processor time from decoding.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return options


class OnnxSession:
    """A model in ONNX Runtime, loaded by `OnnxRuntime.load`."""

    def __init__(
        self, model: bytes, label: str, options: "onnxruntime.SessionOptions", providers: Sequence[str]
    ) -> None:
        try:
            self._session = onnxruntime.InferenceSession(model, options, list(providers))
        except Exception as error:
            # ONNX Runtime raises a dozen types whose only common base is Exception.
            raise ModelError(f"ONNX Runtime cannot load {label}: {error}") from error
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            raise ModelError(f"{label} has {len(inputs)} inputs ({', '.join(i.name for i in inputs)}), not 1")
        self._input: str = inputs[0].name
        self._input_shape = _sizes(inputs[0].shape)
        self._output_shapes = {output.name: _sizes(output.shape) for output in self._session.get_outputs()}

    @property
    def native(self) -> "onnxruntime.InferenceSession":
        """ONNX Runtime's own session, for insightface, which needs one."""
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


def _sizes(shape: Sequence[int | str | None]) -> tuple[int | None, ...]:
    return tuple(size if isinstance(size, int) else None for size in shape)

"""Face embedding: SFace, from OpenCV Zoo, and models with the same input."""

from collections.abc import Sequence
from typing import Protocol

import cv2
import numpy as np

from pipeline.errors import ModelError
from pipeline.faces.alignment import ALIGNED_SIZE
from pipeline.inference.runtime import InferenceSession, Tensor
from pipeline.types import Picture


class Embedder(Protocol):
    """Embeds faces. Thread-safe."""

    @property
    def size(self) -> int:
        """Dimension of a facen."""
        ...

    def embed(self, faces: Sequence[Picture]) -> Tensor:
        """Embed n aligned faces, 112 × 112 BGR; returns (n, size) float32 with L2-normalised rows."""
        ...


class SFaceEmbedder:
    """SFace (Zhong et al. 2021, doi 10.1109/TIP.2020.3048632). Input: RGB, 0 to 255; the graph normalises
    it."""

    def __init__(self, session: InferenceSession) -> None:
        shapes = list(session.output_shapes.values())
        size = shapes[0][-1] if len(shapes) == 1 else None
        if session.input_shape[1:] != (3, ALIGNED_SIZE, ALIGNED_SIZE) or size is None:
            raise ModelError(
                f"this model is not an embedder of {ALIGNED_SIZE} × {ALIGNED_SIZE} faces: "
                f"input {session.input_shape}, outputs {shapes}"
            )
        self._session = session
        self._size = size

    @property
    def size(self) -> int:
        return self._size

    def embed(self, faces: Sequence[Picture]) -> Tensor:
        if not faces:
            return np.empty((0, self._size), np.float32)
        # One by one: a batch is no faster per face, and allocates 20 MB for each face.
        return normalised(np.concatenate([self._run(face) for face in faces]))

    def _run(self, face: Picture) -> Tensor:
        size = (ALIGNED_SIZE, ALIGNED_SIZE)
        blob = np.asarray(cv2.dnn.blobFromImage(face, 1.0, size, swapRB=True), dtype=np.float32)
        (facens,) = self._session.run(blob).values()
        return facens


def normalised(vectors: Tensor) -> Tensor:
    """Each row scaled to length 1; a row of zeros stays zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, np.finfo(np.float32).tiny), dtype=np.float32)

"""Encodes and decodes facens (face embeddings), and computes their similarity.

Confidence is (1 + cosine) / 2: 0 for opposite vectors, 0.5 for unrelated ones, 1 for equal ones. The formula
is the same for every model pack, but the false accept rate at a confidence differs: see the thresholds of the
packs in `pipeline.models.packs`.
"""

import base64
import binascii
import math
from typing import overload

import numpy as np
from numpy.typing import NDArray

from pipeline.types import Facen


class FacenError(ValueError):
    """A facen is not base64, has a wrong length, is not finite, or is zero."""


@overload
def confidence(cosine: float) -> float: ...
@overload
def confidence(cosine: NDArray[np.float32]) -> NDArray[np.float32]: ...
def confidence(cosine: float | NDArray[np.float32]) -> float | NDArray[np.float32]:
    """The confidence of two facens with this cosine, 0 to 1."""
    return (np.float32(1) + cosine) / np.float32(2) if isinstance(cosine, np.ndarray) else (1 + cosine) / 2


def cosine(confidence: float) -> float:
    """The inverse of `confidence`."""
    return 2 * confidence - 1


def normalise(vector: NDArray[np.float32]) -> Facen:
    """Scale the vector to length 1. Raises FacenError if it is not one-dimensional, not finite, or zero."""
    flat = np.asarray(vector, dtype=np.float32)
    if flat.ndim != 1:
        raise FacenError(f"a facen has one dimension, not {flat.ndim}")
    # np.linalg.norm releases the GIL, and may wait milliseconds to reacquire it from a busy thread.
    length = math.sqrt(np.einsum("i,i", flat, flat))
    if not np.isfinite(length) or length == 0:
        raise FacenError("a facen needs finite numbers that are not all zero")
    return np.asarray(flat / np.float32(length), dtype=np.float32)


def encode(facen: Facen) -> str:
    """base64 of the little-endian float32 numbers."""
    return base64.b64encode(np.asarray(facen, dtype="<f4").tobytes()).decode("ascii")


def decode(text: str, size: int | None = None) -> Facen:
    """The inverse of `encode`, L2-normalised. `size`: expected number of dimensions. Raises FacenError."""
    if not isinstance(text, str):
        raise FacenError(f"a facen is base64 text, not {type(text).__name__}")
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise FacenError("a facen is base64 of float32 numbers; this text is not base64") from error
    if not raw or len(raw) % 4:
        raise FacenError(f"a facen is base64 of float32 numbers; this one has {len(raw)} bytes")
    vector = np.frombuffer(raw, dtype="<f4").astype(np.float32)
    if size is not None and len(vector) != size:
        raise FacenError(f"a facen of this pack has {size} numbers, this one has {len(vector)}")
    return normalise(vector)

"""Layers of the demo's frames: cut-outs with soft edges, and sensor noise."""

from dataclasses import dataclass

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

from pipeline.types import Picture


@dataclass(frozen=True, slots=True)
class Grain:
    """One frame's sensor noise."""

    brighter: Picture
    darker: Picture

    def over(self, picture: MatLike, top: int = 0, left: int = 0) -> Picture:
        """The picture, at (left, top) of the frame, with this noise."""
        area = np.s_[top : top + picture.shape[0], left : left + picture.shape[1]]
        noisy = cv2.subtract(cv2.add(picture, self.brighter[area]), self.darker[area])
        return np.asarray(noisy, dtype=np.uint8)


def grains(width: int, height: int, count: int, deviation: float = 0.8) -> list[Grain]:
    """Noise for `count` frames, used in turn. `deviation`: standard deviation in grey levels."""
    random = np.random.default_rng(2)
    noises = [
        np.rint(random.normal(0, deviation, (height, width, 1))).repeat(3, axis=2) for _ in range(count)
    ]
    return [Grain(np.maximum(n, 0).astype(np.uint8), np.maximum(-n, 0).astype(np.uint8)) for n in noises]


@dataclass(frozen=True, slots=True)
class Layer:
    """A cut-out: colours premultiplied by the mask, and the transparency."""

    colours: Picture
    through: NDArray[np.uint8]
    anchor: tuple[float, float]
    """The pixel that is placed at the centre of the head."""
    scale: float = 1.0
    """Size of this layer relative to the sample picture."""

    @classmethod
    def cut(cls, picture: Picture, mask: NDArray[np.uint8], anchor: tuple[float, float]) -> "Layer":
        colours = cv2.multiply(picture, cv2.merge([mask, mask, mask]), scale=1 / 255)
        return cls(np.asarray(colours, dtype=np.uint8), np.asarray(255 - mask, dtype=np.uint8), anchor)


def mipmaps(layer: Layer) -> list[Layer]:
    """The layer at full, half and quarter size, so that small people don't flicker."""
    layers = [layer]
    for _ in range(2):
        last = layers[-1]
        size = (last.colours.shape[1] // 2, last.colours.shape[0] // 2)
        colours, through = (
            np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
            for part in (last.colours, last.through)
        )
        layers.append(Layer(colours, through, (last.anchor[0] / 2, last.anchor[1] / 2), last.scale / 2))
    return layers


def stamp(
    frame: Picture,
    sizes: list[Layer],
    place: tuple[float, float],
    size: float,
    turn: float,
    light: float,
    grain: Grain,
) -> None:
    """Draw a cut-out into the frame: its anchor at `place`, `size` times as large as in the sample picture,
    turned clockwise by `turn` degrees, its brightness times `light`."""
    layer = next((layer for layer in reversed(sizes) if layer.scale >= size), sizes[0])
    factor = size / layer.scale
    # From pixels of the layer to pixels of the frame, (2, 3).
    matrix = np.asarray(cv2.getRotationMatrix2D(layer.anchor, -turn, factor), dtype=np.float64)
    matrix[:, 2] += np.subtract(place, layer.anchor)
    height, width = layer.colours.shape[:2]
    corners = matrix @ np.array([[0, width, 0, width], [0, 0, height, height], [1, 1, 1, 1]])
    left, top = np.maximum(np.floor(corners.min(axis=1)), 0).astype(int)
    right, bottom = np.minimum(np.ceil(corners.max(axis=1)), frame.shape[1::-1]).astype(int)
    if right <= left or bottom <= top:
        return
    matrix[:, 2] -= (left, top)
    view, box = frame[top:bottom, left:right], (int(right - left), int(bottom - top))
    colours = cv2.warpAffine(layer.colours, matrix, box)
    through = cv2.warpAffine(layer.through, matrix, box, borderValue=(255,))
    behind = cv2.multiply(view, cv2.merge([through, through, through]), scale=1 / 255)
    view[:] = grain.over(cv2.add(behind, cv2.convertScaleAbs(colours, alpha=light)), top, left)

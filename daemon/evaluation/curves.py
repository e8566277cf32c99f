"""Draws the diagrams of a calibration: ROC, DET, histogram, error versus discard."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from daemon.evaluation.discard import DiscardCurve
from daemon.evaluation.inputs import InputError
from daemon.evaluation.plot import Plot, linear_axis, log_axis
from daemon.evaluation.rates import Numbers, Roc

_BINS = 100
_MAX_POINTS = 4000
"""Maximum number of points of a curve; more are indistinguishable at 900 px."""


def roc_picture(curve: Roc, impostors: int) -> Image.Image:
    """TAR over FAR. The axis of FAR is logarithmic, down to one impostor pair."""
    far, tar = _thin(curve.far, curve.tar)
    lowest = _lowest_power(impostors)
    low = min(0.9, math.floor(10 * _first(far, tar, 10.0**lowest)) / 10)
    plot = Plot(
        f"ROC (area under the curve {curve.auc:.5f})",
        log_axis("FAR: two people taken for one", lowest, 0),
        linear_axis("TAR: one person recognised", low, 1.0, 0.02 if low >= 0.9 else 0.1),
    )
    plot.line("measured", *_stairs(far, tar))
    return plot.png("bottom right")


def det_picture(curve: Roc, impostors: int, genuines: int) -> Image.Image:
    """FRR over FAR, both logarithmic."""
    far, frr = _thin(curve.far, 1 - curve.tar)
    lowest, floor = _lowest_power(impostors), _lowest_power(genuines)
    plot = Plot(
        f"DET (equal error rate {100 * curve.eer:.2f} %)",
        log_axis("FAR: two people taken for one", lowest, 0),
        log_axis("FRR: one person not recognised", floor, 0),
    )
    plot.guide([10.0 ** max(lowest, floor), 1], [10.0 ** max(lowest, floor), 1])
    plot.line("measured", *_stairs(far, frr))
    return plot.png("top right")


def histogram_picture(genuine: Numbers, impostor: Numbers, marks: Sequence[tuple[str, float]]) -> Image.Image:
    """The distributions of genuine and impostor confidences; each adds up to one."""
    low = min(0.3, math.floor(10 * min(genuine.min(), impostor.min())) / 10)
    edges = np.linspace(low, 1.0, _BINS + 1)
    shares = [np.histogram(kind, edges)[0] / len(kind) for kind in (impostor, genuine)]
    high = math.ceil(20 * max(part.max() for part in shares)) / 20
    plot = Plot(
        f"Confidences of {len(impostor)} impostor and {len(genuine)} genuine pairs",
        linear_axis("confidence", low, 1.0, 0.1),
        linear_axis("share of the pairs of that kind", 0, high, 0.05 if high <= 0.5 else 0.1),
    )
    for name, part in zip(("two people", "one person"), shares, strict=True):
        plot.bars(name, edges.tolist(), part.tolist())
    for row, (name, threshold) in enumerate(marks):
        plot.mark(threshold, name, row)
    return plot.png("top left")


def discard_picture(curves: Sequence[DiscardCurve]) -> Image.Image:
    """FNMR of the remaining pairs over the share discarded by quality."""
    high = max(0.01, max(max(curve.fnmr) for curve in curves))
    step = 10.0 ** math.floor(math.log10(high))
    step = step if high / step >= 4 else step / 2 if high / step >= 2 else step / 5
    plot = Plot(
        "Error versus discard (ISO/IEC 29794-1)",
        linear_axis("share of genuine pairs discarded, the poorest first", 0, 0.5, 0.1),
        linear_axis("FNMR among the rest", 0, step * math.ceil(high / step), step),
    )
    for curve in curves:
        plot.line(f"{curve.name} (threshold {curve.threshold:.3f})", curve.discarded, curve.fnmr)
    return plot.png("top right")


def save(picture: Image.Image, path: Path) -> None:
    """Write a PNG file. Raises InputError if that fails."""
    try:
        picture.save(path, format="PNG")
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error


def _lowest_power(pairs: int) -> int:
    """The largest power of ten not above 1 / pairs."""
    return min(-1, math.floor(math.log10(1 / max(pairs, 1)) + 1e-9))


def _first(far: Numbers, tar: Numbers, least: float) -> float:
    """The TAR at the left edge of the picture."""
    return float(tar[max(0, int(np.searchsorted(far, least, side="right")) - 1)])


def _thin(far: Numbers, other: Numbers) -> tuple[Numbers, Numbers]:
    """Reduce a curve to as many points as can be distinguished."""
    if len(far) <= _MAX_POINTS:
        return far, other
    keep = np.unique(np.geomspace(1, len(far), _MAX_POINTS).astype(int) - 1)
    return far[keep], other[keep]


def _stairs(xs: Numbers, ys: Numbers) -> tuple[list[float], list[float]]:
    """The points of a step function, because rates are constant between two thresholds."""
    return np.repeat(xs, 2)[1:].tolist(), np.repeat(ys, 2)[:-1].tolist()

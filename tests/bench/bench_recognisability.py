"""Fits and judges the recognisability of detections in labelled clips.

    python -m tests.bench.bench_recognisability DIR [CLIP:FRAME ...]

DIR is a scene as `facend evaluate scene` reads it, with junk.json; CLIP:FRAME leaves out the unrecognisable
detections of a frame whose label is doubtful. Every detection of every frame that lies on a labelled box is
measured; those of one visit, or of one unrecognisable object, weigh together like the square root of their
number, and both classes weigh the same. Each clip is judged by coefficients fitted on the other clips. Prints
the area under the ROC curve of each measure and of the combination, the error-versus-discard curve, and the
coefficients of all clips for `pipeline/faces/recognisability.py`.
"""

import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import rankdata

from daemon.evaluation.truth import Junk, Truth, clips_of, read_junk, read_truth
from pipeline.extractor import scaled
from pipeline.faces.recognisability import aligned_score
from pipeline.faces.refine import refine
from pipeline.models.loader import Models
from pipeline.types import Picture, Rectangle
from tests.faces import default_models

DETECT_SIZE = 640
MIN_SCORE = 0.5
SAME_FACE = 0.3
SAME_OBJECT_FRAMES = 12
MEASURES = ("detector score", "near score", "aligned score")
FITTED = slice(1, 3)
RIDGE = 0.02

Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Look:
    """A labelled detection."""

    clip: str
    owner: str
    """The visit, or the unrecognisable object."""
    recognisable: bool
    measures: tuple[float, ...]


class Labels:
    """The labelled boxes of one clip."""

    def __init__(self, truth: Truth, junk: Junk, camera: str) -> None:
        self._visits: dict[int, list[tuple[str, Rectangle]]] = defaultdict(list)
        self._junk: dict[int, list[Rectangle]] = defaultdict(list)
        self._objects: list[tuple[int, Rectangle]] = []
        for frame, visit, _, x, y, width, height in truth.boxes[camera]:
            self._visits[frame].append((f"visit {visit}", Rectangle(x, y, x + width, y + height)))
        for frame, _, x, y, width, height in junk.get(camera, ()):
            self._junk[frame].append(Rectangle(x, y, x + width, y + height))

    def owner(self, frame: int, box: Rectangle) -> str | None:
        """The visit or the unrecognisable object that the box lies on; None if neither."""
        for visit, labelled in self._visits[frame]:
            if box.iou(labelled) > SAME_FACE:
                return visit
        if not any(box.iou(labelled) > SAME_FACE for labelled in self._junk[frame]):
            return None
        for number, (last, known) in enumerate(self._objects):
            if 0 < frame - last <= SAME_OBJECT_FRAMES and box.iou(known) > SAME_FACE:
                self._objects[number] = frame, box
                return f"object {number}"
        self._objects.append((frame, box))
        return f"object {len(self._objects) - 1}"


def pictures(clip: Path) -> Iterator[tuple[int, Picture]]:
    with av.open(str(clip)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            yield number, np.asarray(frame.to_ndarray(format="bgr24"), dtype=np.uint8)


def looks(clip: Path, labels: Labels, models: Models) -> Iterator[Look]:
    for number, picture in pictures(clip):
        height, width = picture.shape[:2]
        factor = min(1.0, DETECT_SIZE / max(width, height))
        size = round(width * factor), round(height * factor)
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        luma = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), dtype=np.uint8)
        for small_face in models.detector.detect(np.asarray(small, dtype=np.uint8)):
            face = scaled(small_face, width / size[0], height / size[1])
            owner = labels.owner(number, face.bbox) if face.score >= MIN_SCORE else None
            if owner is None:
                continue
            near = refine(models.detector, luma, face)
            measures = (
                face.score,
                near.near_score or 0.0,
                aligned_score(models.detector, luma, near.landmarks),
            )
            yield Look(clip.stem, f"{clip.stem} {owner}", owner.startswith("visit"), measures)


def fit(values: Numbers, good: Flags, weights: Numbers) -> tuple[Numbers, float]:
    """Coefficients and intercept of a weighted logistic regression with a small ridge."""
    middle, spread = values.mean(axis=0), values.std(axis=0)
    standard, signs = (values - middle) / spread, np.where(good, 1.0, -1.0)

    def loss(point: Numbers) -> tuple[float, Numbers]:
        odds = standard @ point[:-1] + point[-1]
        slope = -signs / (1 + np.exp(signs * odds)) * weights
        value = float((weights * np.logaddexp(0, -signs * odds)).sum() + RIDGE / 2 * (point[:-1] ** 2).sum())
        return value, np.append(standard.T @ slope + RIDGE * point[:-1], slope.sum())

    point = minimize(loss, np.zeros(values.shape[1] + 1), jac=True, method="L-BFGS-B").x
    coefficients = point[:-1] / spread
    return coefficients, float(point[-1] - (coefficients * middle).sum())


def balanced(owners: NDArray[np.str_], good: Flags) -> Numbers:
    """Weights: an owner's looks weigh together like the square root of their number, the classes the same."""
    _, owner, counts = np.unique(owners, return_inverse=True, return_counts=True)
    weights = 1 / np.sqrt(counts[owner])
    for kind in (good, ~good):
        weights[kind] *= 0.5 / weights[kind].sum()
    return np.asarray(weights, dtype=np.float64)


def area_under_curve(scores: Numbers, good: Flags) -> float:
    ranks, positives, negatives = rankdata(scores), int(good.sum()), int((~good).sum())
    return float((ranks[good].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def main() -> None:
    folder, models = Path(sys.argv[1]), default_models()
    truth, junk = read_truth(folder), read_junk(folder)
    for doubtful in sys.argv[2:]:
        clip_name, _, frame = doubtful.partition(":")
        junk[clip_name] = [row for row in junk[clip_name] if row[0] != int(frame)]
    found = [
        look
        for clip in clips_of(folder, truth)
        for look in looks(clip, Labels(truth, junk, clip.stem), models)
    ]
    values = np.array([look.measures for look in found], dtype=np.float64)
    good = np.array([look.recognisable for look in found])
    clips, owners = (np.array([getattr(look, name) for look in found]) for name in ("clip", "owner"))
    weights = balanced(owners, good)
    print(f"{good.sum()} recognisable, {(~good).sum()} not, of {len(set(owners))} visits and objects")
    for column, name in enumerate(MEASURES):
        print(f"AUC of the {name}: {area_under_curve(values[:, column], good):.3f}")
    odds = np.zeros(len(found))
    for clip in sorted(set(clips)):
        others = clips != clip
        coefficients, intercept = fit(values[others, FITTED], good[others], weights[others])
        odds[~others] = values[~others, FITTED] @ coefficients + intercept
    print(f"AUC of the combination, each clip left out of its fit: {area_under_curve(odds, good):.3f}")
    print("\nlimit  faces kept  unrecognisable left  their share of what is left")
    for limit in np.arange(-4.0, 3.01, 0.5):
        kept = odds >= limit
        share = (kept & ~good).sum() / max(1, kept.sum())
        print(f"{limit:5.1f}  {kept[good].mean():10.3f}  {kept[~good].mean():19.3f}  {share:27.4f}")
    best = {owner: np.sort(odds[owners == owner])[-2:].mean() for owner in sorted(set(owners))}
    print("\nmean of the two best looks: lowest visits, highest objects")
    for kind, order in (("visit", 1), ("object", -1)):
        mine = sorted(
            ((v, name) for name, v in best.items() if f" {kind} " in name), key=lambda one: order * one[0]
        )
        print(*(f"  {value:6.2f}  {name}" for value, name in mine[:5]), sep="\n")
    coefficients, intercept = fit(values[:, FITTED], good, weights)
    print(f"\nCoefficients({coefficients[0]:.2f}, {coefficients[1]:.2f}, {intercept:.2f})")


if __name__ == "__main__":
    main()

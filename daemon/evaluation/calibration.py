"""Thresholds measured on labelled pictures: every picture is compared with every other one."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from daemon.evaluation.faces import LabelledFace
from daemon.evaluation.inputs import InputError, LabelledPicture
from daemon.evaluation.rates import Numbers, Point, at_far, at_threshold, can_demonstrate
from daemon.runtime.terminal import count
from pipeline.faces import facen

MAX_PICTURES = 5000
"""Gives 12.5 million pairs; memory grows with the square of the number of pictures."""

TABLE = tuple(round(0.5 + 0.025 * step, 3) for step in range(19))
"""Thresholds of the table, from 0.5 (unrelated faces) to 0.95."""

Indices = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Comparisons:
    """All pairs of pictures with a face."""

    faces: tuple[LabelledFace, ...]
    genuine: Numbers
    """Confidences of genuine pairs, which show one person."""
    genuine_pairs: Indices
    """(n, 2): indices into `faces`."""
    impostor: Numbers
    """Confidences of impostor pairs, which show two people."""
    impostor_pairs: Indices

    @property
    def genuine_quality(self) -> Numbers:
        """The quality score of the poorer picture of each genuine pair."""
        scores = np.array([item.face.score for item in self.faces])
        return np.asarray(scores[self.genuine_pairs].min(axis=1), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A threshold for a target false accept rate."""

    wanted_far: float
    point: Point
    carried: bool
    """Whether there are enough impostor pairs to demonstrate the rate: at least 3 / rate (rule of three)."""

    @property
    def threshold(self) -> float:
        """The threshold, rounded up to four digits."""
        return float(np.ceil(self.point.threshold * 1e4) / 1e4)


@dataclass(frozen=True, slots=True)
class Oddity:
    """A pair whose labels may be wrong."""

    confidence: float
    one: LabelledFace
    other: LabelledFace


def check_labels(pictures: Sequence[LabelledPicture]) -> None:
    """Check the labels before any picture is read.

    Raises:
        InputError: too many pictures, or too few people or pictures to compare.
    """
    if len(pictures) > MAX_PICTURES:
        raise InputError(f"there are {len(pictures)} pictures; at most {MAX_PICTURES} can be compared")
    _check_people([picture.person for picture in pictures], "pictures")


def compare(faces: Sequence[LabelledFace]) -> Comparisons:
    """Compare every picture with every other one.

    Raises:
        InputError: there are not two people, or no person has two pictures with a face.
    """
    usable = tuple(item for item in faces if item.face.facen is not None)
    people = _check_people([item.person for item in usable], f"pictures with a face among {len(faces)}")
    matrix = np.stack([item.face.facen for item in usable if item.face.facen is not None])
    names = sorted(people)
    labels = np.array([names.index(item.person) for item in usable])
    rows, columns = np.triu_indices(len(usable), k=1)
    confidences = facen.confidence(np.asarray(matrix @ matrix.T, np.float32))[rows, columns]
    confidences = np.clip(confidences.astype(np.float64), 0.0, 1.0)
    same = labels[rows] == labels[columns]
    pairs = np.stack([rows, columns], axis=1)
    return Comparisons(usable, confidences[same], pairs[same], confidences[~same], pairs[~same])


def _check_people(labels: Sequence[str], what: str) -> Counter[str]:
    """The number of pictures of each person. Raises InputError if there are too few."""
    people = Counter(labels)
    if len(people) < 2 or max(people.values()) < 2:
        found = f"{len(labels)} {what}, of {count(len(people), 'person', 'people')}"
        raise InputError(f"found {found}; at least two people are needed, and two pictures of one of them")
    return people


def table(comparisons: Comparisons) -> list[Point]:
    return [at_threshold(comparisons.genuine, comparisons.impostor, threshold) for threshold in TABLE]


def suggest(comparisons: Comparisons, wanted_far: float) -> Suggestion:
    point = at_far(comparisons.genuine, comparisons.impostor, wanted_far)
    return Suggestion(wanted_far, point, can_demonstrate(len(comparisons.impostor), wanted_far))


def oddities(comparisons: Comparisons, number: int = 3) -> tuple[list[Oddity], list[Oddity]]:
    """Suspicious pairs: the most similar pictures of two people, and the least similar of one person."""

    def pick(confidences: Numbers, pairs: Indices, sign: float) -> list[Oddity]:
        order = np.argsort(sign * confidences, kind="stable")[:number]
        return [
            Oddity(float(confidences[at]), comparisons.faces[pairs[at, 0]], comparisons.faces[pairs[at, 1]])
            for at in order
        ]

    return (
        pick(comparisons.impostor, comparisons.impostor_pairs, -1.0),
        pick(comparisons.genuine, comparisons.genuine_pairs, 1.0),
    )

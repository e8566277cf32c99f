"""Evaluates identification: is the right person of the gallery found, and are strangers rejected?

Terms as in ISO/IEC 19795-1. The confidence of a person for a probe is that of the person's most similar
picture. Closed set: how often the right person is ranked first, or among the first five. Open set: a probe of
a person outside the gallery must not reach the threshold (false positive identifications, FPIR); a probe of a
person inside must reach it at rank 1 (false negative identifications, FNIR).

A picture that is both in the gallery and a probe is not compared with itself, so one folder can be both.
"""

import math
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from daemon.evaluation.faces import LabelledFace
from daemon.evaluation.inputs import InputError
from daemon.evaluation.rates import NO_FACE, Numbers, upper_bound
from pipeline.faces import facen


@dataclass(frozen=True, slots=True)
class OpenSetPoint:
    """Error counts at one threshold."""

    name: str
    threshold: float
    false_accepts: int
    unknown: int
    """Probes of people who are not in the gallery."""
    misses: int
    known: int
    """Probes of people in the gallery."""

    @property
    def fpir(self) -> float:
        return self.false_accepts / self.unknown if self.unknown else math.nan

    @property
    def fnir(self) -> float:
        return self.misses / self.known if self.known else math.nan

    @property
    def fpir_bound(self) -> float:
        """Upper bound of the FPIR at 95 % confidence, assuming independent probes."""
        return upper_bound(self.false_accepts, self.unknown)


@dataclass(frozen=True, slots=True)
class IdentifyScores:
    people: int
    """Number of people in the gallery with a face."""
    gallery_pictures: int
    gallery_without_face: int
    known: int
    unknown: int
    probes_without_face: int
    """Probes without a face, which count as misses, not as false accepts."""
    rank1: int
    """Number of known probes whose person is ranked first."""
    rank5: int
    """Number of known probes whose person is ranked among the first five."""
    at_thresholds: tuple[OpenSetPoint, ...]
    det: tuple[OpenSetPoint, ...]
    """At the lowest threshold for each FPIR that the number of unknown probes can demonstrate."""


def evaluate(
    gallery: Sequence[LabelledFace], probes: Sequence[LabelledFace], thresholds: dict[str, float]
) -> IdentifyScores:
    """The scores of these probes.

    Raises:
        InputError: the gallery has no face, or there are no probes.
    """
    usable = [item for item in gallery if item.face.facen is not None]
    if not usable or not probes:
        raise InputError("there is no face in the gallery" if probes else "there are no probes")
    people = sorted({item.person for item in usable})
    best = _best_by_person(usable, people, probes)
    paths: dict[str, set[Path]] = defaultdict(set)
    for item in gallery:
        paths[item.person].add(item.face.path.resolve())
    known = np.array([bool(paths[probe.person] - {probe.face.path.resolve()}) for probe in probes])
    ranks = np.array([_rank(row, people, probe.person) for row, probe in zip(best, probes, strict=True)])
    top = best.max(axis=1)
    hits = np.where(known & (ranks == 1), top, NO_FACE)[known]

    def point(name: str, threshold: float) -> OpenSetPoint:
        return OpenSetPoint(
            name,
            threshold,
            false_accepts=int(np.count_nonzero(top[~known] >= threshold)),
            unknown=int(np.count_nonzero(~known)),
            misses=int(np.count_nonzero(hits < threshold)),
            known=len(hits),
        )

    return IdentifyScores(
        people=len(people),
        gallery_pictures=len(gallery),
        gallery_without_face=len(gallery) - len(usable),
        known=len(hits),
        unknown=int(np.count_nonzero(~known)),
        probes_without_face=sum(probe.face.facen is None for probe in probes),
        rank1=int(np.count_nonzero(ranks[known] <= 1)),
        rank5=int(np.count_nonzero(ranks[known] <= 5)),
        at_thresholds=tuple(point(name, threshold) for name, threshold in thresholds.items()),
        det=tuple(point(*step) for step in _det_steps(top[~known])),
    )


def leave_out(gallery: Sequence[LabelledFace], share: float, seed: int = 0) -> list[LabelledFace]:
    """The gallery without a random share of its people, which depends only on the seed."""
    people = sorted({item.person for item in gallery})
    # Not used for security.
    removed = set(random.Random(seed).sample(people, round(len(people) * share)))  # noqa: S311
    return [item for item in gallery if item.person not in removed]


def _best_by_person(
    gallery: Sequence[LabelledFace], people: list[str], probes: Sequence[LabelledFace]
) -> Numbers:
    """(probes, people): the confidence of each person's most similar picture.

    NO_FACE for a probe without a face, and for a person whose only picture is the probe itself.
    """
    matrix = np.stack([item.face.facen for item in gallery if item.face.facen is not None])
    columns = np.array([people.index(item.person) for item in gallery])
    row_of = {item.face.path.resolve(): number for number, item in enumerate(gallery)}
    best = np.full((len(probes), len(people)), NO_FACE)
    for row, probe in zip(best, probes, strict=True):
        if probe.face.facen is not None:
            confidences = facen.confidence(matrix @ probe.face.facen).astype(np.float64)
            if (itself := row_of.get(probe.face.path.resolve())) is not None:
                confidences[itself] = NO_FACE
            np.maximum.at(row, columns, confidences)
    return best


def _rank(row: Numbers, people: list[str], person: str) -> float:
    """The rank of the person from 1, the worst of equal ones; infinite if the person is not ranked."""
    if person not in people or row[people.index(person)] == NO_FACE:
        return math.inf
    return float(np.count_nonzero(row >= row[people.index(person)]))


def _det_steps(unknown: Numbers) -> list[tuple[str, float]]:
    """Names and thresholds for FPIR 10 %, 5 %, 2 %, 1 % … down to one false accept, and for none."""
    steps = []
    highest = np.sort(unknown)[::-1]
    for rate in (0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001):
        allowed = math.floor(rate * len(highest) + 1e-9)
        if allowed >= 1:
            steps.append((f"FPIR {rate:g}", max(0.0, float(np.nextafter(highest[allowed], math.inf)))))
    if len(highest):
        steps.append(("FPIR 0", max(0.0, float(np.nextafter(highest[0], math.inf)))))
    return steps

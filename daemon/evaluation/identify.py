"""Identification: who of the gallery is this, and what of those who are not in it?

Words as in ISO/IEC 19795-1. A person of the gallery is as alike to a probe as the most alike of their
pictures. Closed set: how often the right person comes first, or among the first five. Open set: people whom
the gallery does not have must not reach the threshold (false positive identification, FPIR), and those whom
it has must reach it and come first (else a false negative identification, FNIR).

A picture that is both in the gallery and a probe is not compared with itself: one folder can be both.
"""

import math
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from daemon.evaluation.errors import InputError
from daemon.evaluation.faces import Look
from daemon.evaluation.rates import NO_FACE, Numbers, upper_bound
from pipeline.faces import facen


@dataclass(frozen=True, slots=True, eq=False)
class PersonLook:
    """What was found in a picture of a person."""

    person: str
    look: Look


@dataclass(frozen=True, slots=True)
class OpenSetPoint:
    """What one threshold gives."""

    name: str
    threshold: float
    false_accepts: int
    unknown: int
    """Probes of people who are not in the gallery."""
    misses: int
    known: int
    """Probes of people who are."""

    @property
    def fpir(self) -> float:
        return self.false_accepts / self.unknown if self.unknown else math.nan

    @property
    def fnir(self) -> float:
        return self.misses / self.known if self.known else math.nan

    @property
    def fpir_bound(self) -> float:
        """The FPIR is lower than this, 95 % sure, were the probes independent."""
        return upper_bound(self.false_accepts, self.unknown)


@dataclass(frozen=True, slots=True)
class IdentifyScores:
    people: int
    """In the gallery, with a face."""
    gallery_pictures: int
    gallery_without_face: int
    known: int
    unknown: int
    probes_without_face: int
    """They count as not found, and as no false accept."""
    rank1: int
    rank5: int
    """Known probes whose person is the most alike one, or among the five most alike."""
    at_thresholds: tuple[OpenSetPoint, ...]
    det: tuple[OpenSetPoint, ...]
    """At the lowest threshold for each FPIR that the unknown probes can show."""


def evaluate(
    gallery: Sequence[PersonLook], probes: Sequence[PersonLook], thresholds: dict[str, float]
) -> IdentifyScores:
    """The scores of these probes. InputError where the gallery has no face, or there are no probes."""
    usable = [item for item in gallery if item.look.facen is not None]
    if not usable or not probes:
        raise InputError("there is no face in the gallery" if probes else "there are no probes")
    people = sorted({item.person for item in usable})
    best = _best_by_person(usable, people, probes)
    paths: dict[str, set[Path]] = defaultdict(set)
    for item in gallery:
        paths[item.person].add(item.look.path.resolve())
    known = np.array([bool(paths[probe.person] - {probe.look.path.resolve()}) for probe in probes])
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
        probes_without_face=sum(probe.look.facen is None for probe in probes),
        rank1=int(np.count_nonzero(ranks[known] <= 1)),
        rank5=int(np.count_nonzero(ranks[known] <= 5)),
        at_thresholds=tuple(point(name, threshold) for name, threshold in thresholds.items()),
        det=tuple(point(*step) for step in _det_steps(top[~known])),
    )


def leave_out(gallery: Sequence[PersonLook], share: float, seed: int = 0) -> list[PersonLook]:
    """The gallery without this share of its people, drawn by chance, the same in every run."""
    people = sorted({item.person for item in gallery})
    # Chance decides nothing secret here.
    gone = set(random.Random(seed).sample(people, round(len(people) * share)))  # noqa: S311
    return [item for item in gallery if item.person not in gone]


def _best_by_person(
    gallery: Sequence[PersonLook], people: list[str], probes: Sequence[PersonLook]
) -> Numbers:
    """(probes, people): the confidence of each person's most alike picture; NO_FACE for a faceless probe, and
    where the person has no other picture than the probe itself."""
    matrix = np.stack([item.look.facen for item in gallery if item.look.facen is not None])
    columns = np.array([people.index(item.person) for item in gallery])
    row_of = {item.look.path.resolve(): number for number, item in enumerate(gallery)}
    best = np.full((len(probes), len(people)), NO_FACE)
    for row, probe in zip(best, probes, strict=True):
        if probe.look.facen is not None:
            confidences = facen.confidence(matrix @ probe.look.facen).astype(np.float64)
            if (itself := row_of.get(probe.look.path.resolve())) is not None:
                confidences[itself] = NO_FACE
            np.maximum.at(row, columns, confidences)
    return best


def _rank(row: Numbers, people: list[str], person: str) -> float:
    """At which place the person comes, from 1; of equals the worst place. Infinite where they do not come."""
    if person not in people or row[people.index(person)] == NO_FACE:
        return math.inf
    return float(np.count_nonzero(row >= row[people.index(person)]))


def _det_steps(unknown: Numbers) -> list[tuple[str, float]]:
    """Names and thresholds of FPIR 10 %, 5 %, 2 %, 1 % … as far down as one false accept, and of none."""
    steps = []
    highest = np.sort(unknown)[::-1]
    for rate in (0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001):
        allowed = math.floor(rate * len(highest) + 1e-9)
        if allowed >= 1:
            steps.append((f"FPIR {rate:g}", max(0.0, float(np.nextafter(highest[allowed], math.inf)))))
    if len(highest):
        steps.append(("FPIR 0", max(0.0, float(np.nextafter(highest[0], math.inf)))))
    return steps

"""Recall: which visits of the reference were stored, as which persons, and after which delay."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from daemon.benchmarks.camera_reference import ReferenceVisit
from daemon.benchmarks.camera_runs import PATIENCE_SECONDS, TAIL_SECONDS, Plan, Run


@dataclass(frozen=True, slots=True)
class Recall:
    expected: int
    found: int
    delays: Sequence[float]
    """Seconds from the first good shot of a visit to its first stored face, without visits during warm-up."""
    people: int
    """Distinct people in the found visits, according to the reference."""
    persons: int
    """Distinct persons to whom these visits were assigned."""
    mixed: int
    """Wrong assignments: persons that mix two people, and people split into two persons."""


def recall(run: Run, plan: Plan, visits: Mapping[Path, Sequence[ReferenceVisit]]) -> Recall:
    """Compare a run with the reference. `visits`: of each clip."""
    expected = found = 0
    delays: list[float] = []
    pairs: set[tuple[int, int]] = set()
    for number in range(run.cameras):
        one = plan.played(number)
        cam_id = f"c{number}"
        stored = [face for face in run.stored if face.cam_id == cam_id]
        elapsed = run.end.at - run.began[cam_id]
        warm = run.begin.at - run.began[cam_id]
        for visit, at in _shown(visits[one.clip.path], one.start, one.clip.seconds, elapsed - TAIL_SECONDS):
            expected += 1
            length = visit.last_shot - visit.first_good_shot + PATIENCE_SECONDS
            mine = [face for face in stored if -PATIENCE_SECONDS <= face.media_time - at <= length]
            if not mine:
                continue
            found += 1
            first = min(mine, key=lambda face: face.stored_at)
            if at >= warm:
                # Wall time of the good shot, with the same offset to media time as the stored face.
                delays.append(first.stored_at - (first.captured_at - first.media_time + at))
            pairs |= {(visit.person, face.person_id) for face in mine if face.person_id is not None}
    people, persons = {person for person, _ in pairs}, {person for _, person in pairs}
    mixed = 2 * len(pairs) - len(people) - len(persons)
    return Recall(expected, found, delays, len(people), len(persons), mixed)


def _shown(
    visits: Sequence[ReferenceVisit], start: float, length: float, until: float
) -> list[tuple[ReferenceVisit, float]]:
    """The visits that a camera has shown completely, and the media time of their first good shot.

    The camera plays the clip from position `start`, in a loop.
    """
    shown = []
    for visit in visits:
        at = (visit.first_good_shot - start) % length
        while at <= until:
            shown.append((visit, at))
            at += length
    return shown

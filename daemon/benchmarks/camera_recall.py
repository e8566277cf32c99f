"""Which of the visits that a slow look at every frame finds were stored, as whom, and how soon."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from daemon.benchmarks.camera_reference import Visit
from daemon.benchmarks.camera_runs import PATIENCE_SECONDS, TAIL_SECONDS, Plan, Run


@dataclass(frozen=True, slots=True)
class Recall:
    expected: int
    found: int
    delays: Sequence[float]
    """Seconds from each found visit's first good look to its first stored face; those that began while the
    cameras were starting are left out."""
    people: int
    """Different people of the found visits, by the reference."""
    persons: int
    """The persons that they became."""
    mixed: int
    """Persons who are two people, and people who are two persons."""


def recall(run: Run, plan: Plan, visits: Mapping[Path, Sequence[Visit]]) -> Recall:
    """`visits`: those of each clip."""
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
            length = visit.last_look - visit.first_good_look + PATIENCE_SECONDS
            mine = [face for face in stored if -PATIENCE_SECONDS <= face.media_time - at <= length]
            if not mine:
                continue
            found += 1
            first = min(mine, key=lambda face: face.stored_at)
            if at >= warm:
                # When the good look was shown: the world's clock and the camera's lie as for the stored face.
                delays.append(first.stored_at - (first.captured_at - first.media_time + at))
            pairs |= {(visit.person, face.person_id) for face in mine if face.person_id is not None}
    people, persons = {person for person, _ in pairs}, {person for _, person in pairs}
    mixed = 2 * len(pairs) - len(people) - len(persons)
    return Recall(expected, found, delays, len(people), len(persons), mixed)


def _shown(visits: Sequence[Visit], start: float, length: float, until: float) -> list[tuple[Visit, float]]:
    """The visits that a camera has shown whole, from their first good look on, and when that was.

    It begins with the clip's second `start`, and plays the clip again and again.
    """
    shown = []
    for visit in visits:
        at = (visit.first_good_look - start) % length
        while at <= until:
            shown.append((visit, at))
            at += length
    return shown

"""A camera's stages, run on a list of frames."""

from collections import Counter
from collections.abc import Iterable

from pipeline.stages import CameraStages
from pipeline.types import EndedVisit, Frame, Sighting, StartedVisit, UnobservedPipeline


class CountingObserver(UnobservedPipeline):
    """An observer that counts events."""

    def __init__(self) -> None:
        self.shots: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.started: list[StartedVisit] = []
        self.ended: list[EndedVisit] = []

    def shot(self, cam_id: str, outcome: str) -> None:
        self.shots[outcome] += 1

    def visit_started(self, visit: StartedVisit) -> None:
        self.started.append(visit)

    def visit_ended(self, visit: EndedVisit) -> None:
        self.ended.append(visit)
        self.counts["visits"] += 1

    def analysed(self, cam_id: str) -> None:
        self.counts["analysed"] += 1

    def skipped(self, cam_id: str, reason: str) -> None:
        self.counts[reason] += 1

    def faces_detected(self, cam_id: str, count: int) -> None:
        self.counts["faces"] += count


def run(stages: CameraStages, frames: Iterable[Frame], finish: bool = True) -> list[Sighting]:
    """The sightings of these frames, with those at the end if finish."""
    sightings = [sighting for one in frames for sighting in stages.process(one)]
    return sightings + (stages.finish() if finish else [])

"""The visits at one camera: judging their shots, and knowing which to post and when.

A shot is judged in steps, each dearer than the one before and each only for shots that can still win: by
size and place, by the geometry of its landmarks, by the brightness of its pixels, and by a closer look.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from pipeline.faces.detector import Detector
from pipeline.faces.quality import assess, bound, pose
from pipeline.faces.refine import refine
from pipeline.tracking.appearance_cache import AppearanceCache
from pipeline.tracking.tracker import Track
from pipeline.types import Detection, Frame, Observer, Quality
from pipeline.visits.best_shot import BestShot, Posting, Shot, ShotOutcome
from pipeline.visits.regions import Region
from pipeline.visits.visit_shots import VisitShots

_CERTAIN = 0.8
"""A detection with this score stands for a face even if it is seen only once, as on a camera with few
frames."""

_HALF_A_QUARTER = 45.0
"""Degrees."""

_MAX_CO_VISIBLE = 200
"""Of so many others who were visible at once, the latest, a visit in a crowd knows."""


@dataclass(frozen=True, slots=True)
class ShotRules:
    """What a shot needs, and when the best one is posted; see `pipeline.stages.StageSettings`."""

    posting: Posting
    post_interval_seconds: float
    min_face_px: int
    min_score: float
    roi: Region
    shots: int
    """How many shots a visit's facen is made of."""


@dataclass(slots=True)
class OngoingVisit:
    id: str
    started_at: datetime
    best: BestShot
    shots: VisitShots
    co_visible: dict[str, None] = field(default_factory=dict)
    """The visits that were visible in the same frame, in a place of their own; the latest last."""
    surest: float = 0.0
    """The best score that the detector gave."""
    upright: bool = False
    """Whether a closer look has shown that the face is not turned by a quarter or more."""
    appearance: AppearanceCache = field(default_factory=AppearanceCache)
    """What the face looked like."""

    def refine(self, detector: Detector, luma: NDArray[np.uint8], found: Detection) -> Detection:
        """As `pipeline.faces.refine`, but that the face is upright has to be found only once."""
        seen = refine(detector, luma, found, upright=self.upright)
        self.upright |= seen is not found and abs(pose(seen.landmarks).roll) < _HALF_A_QUARTER
        return seen


@dataclass(frozen=True, slots=True)
class Post:
    """A shot that is to be posted, and why now."""

    visit: OngoingVisit
    shot: Shot
    mode: Posting


class Visits:
    """The visits that go on at one camera, one for each track. Not thread-safe."""

    def __init__(
        self, cam_id: str, rules: ShotRules, near_detector: Detector | None, observer: Observer
    ) -> None:
        self._cam_id = cam_id
        self._rules = rules
        self._near_detector = near_detector
        self._observer = observer
        self._visits: dict[int, OngoingVisit] = {}

    def observe(self, tracks: Sequence[Track], frame: Frame) -> None:
        """Judges what was just seen of these tracks, and counts what became of it."""
        luma: NDArray[np.uint8] | None = None
        for track in tracks:
            if track.number not in self._visits:
                self._visits[track.number] = self._begin(track, frame)
        self._record_co_visibility(tracks)
        for track in tracks:
            detection, visit = track.detection, self._visits[track.number]
            visit.surest = max(visit.surest, detection.score)
            outcome = self._prefilter(visit, detection, frame)
            if outcome is None:
                luma = frame.pixels.luma() if luma is None else luma
                outcome = self._judge(visit, detection, frame, luma)
            if outcome is not None:
                self._count(outcome)

    @property
    def any_good(self) -> bool:
        """Whether a visit that goes on has a shot worth posting."""
        return any(visit.best.has_shot for visit in self._visits.values())

    def visit_of(self, track: Track) -> OngoingVisit | None:
        """The visit that a track stands for."""
        return self._visits.get(track.number)

    def due_crops(self, now: float) -> list[tuple[OngoingVisit, Shot]]:
        """The shots that have to be cut out now, at this media time, because their frames are let go."""
        return [
            (visit, shot) for visit in self._visits.values() if (shot := visit.shots.due(now)) is not None
        ]

    def due_posts(self, tracks: Sequence[Track], now: float) -> list[Post]:
        """What to post while these visits go on, at this media time."""
        posts = []
        for track in tracks:
            visit = self._visits[track.number]
            if _is_face(track, visit) and (shot := visit.best.due(now)) is not None:
                posts.append(Post(visit, shot, Posting.REALTIME))
        return posts

    def end(self, tracks: Sequence[Track]) -> list[Post]:
        """Ends the visits of these tracks, and gives what they still have to post."""
        last = Posting.REALTIME if self._rules.posting is Posting.REALTIME else Posting.OVERALL
        posts = []
        for track in tracks:
            visit = self._visits.pop(track.number)
            shot, outcome = visit.best.last()
            if not _is_face(track, visit):
                if shot is not None:
                    self._count(ShotOutcome.LOW_QUALITY)
                continue
            self._observer.visit(self._cam_id)
            if shot is not None:
                posts.append(Post(visit, shot, last))
            elif outcome is not None:
                self._count(outcome)
        return posts

    def _begin(self, track: Track, frame: Frame) -> OngoingVisit:
        moment = frame.captured_at.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        best = BestShot(self._rules.posting, self._rules.post_interval_seconds)
        shots = VisitShots(self._rules.shots)
        return OngoingVisit(f"{self._cam_id}-{moment}-{track.number}", frame.captured_at, best, shots)

    def _record_co_visibility(self, tracks: Sequence[Track]) -> None:
        """Notes who was visible with whom. Boxes that overlap may be one face found twice."""
        for one, other in combinations(tracks, 2):
            here, there = self._visits[one.number], self._visits[other.number]
            if there.id in here.co_visible and here.id in there.co_visible:
                continue
            if one.detection.bbox.intersection(other.detection.bbox).area == 0:
                _add_co_visible(here, there)
                _add_co_visible(there, here)

    def _prefilter(self, visit: OngoingVisit, detection: Detection, frame: Frame) -> ShotOutcome | None:
        """Judges a shot without looking at its pixels; None where it may still win."""
        if min(detection.bbox.width, detection.bbox.height) < self._rules.min_face_px:
            return ShotOutcome.SMALL
        if not lies_in(self._rules.roi, detection, frame):
            return ShotOutcome.OUTSIDE_ROI
        quality = bound(detection, frame.pixels.width, frame.pixels.height)
        return self._rejection(visit, quality)

    def _judge(
        self, visit: OngoingVisit, detection: Detection, frame: Frame, luma: NDArray[np.uint8]
    ) -> ShotOutcome | None:
        """Judges a shot by its pixels, and keeps it if it wins; None where there is nothing to count yet."""
        quality = assess(luma, detection)
        if (outcome := self._rejection(visit, quality)) is not None:
            return outcome
        if self._near_detector is not None:
            detection = visit.refine(self._near_detector, luma, detection)
            quality = assess(luma, detection)
            if (outcome := self._rejection(visit, quality)) is not None:
                return outcome
        shot = Shot(frame, detection, quality)
        if visit.shots.wants(quality.score):
            visit.shots.hold(shot)
        if not visit.best.beaten_by(quality.score):
            return ShotOutcome.NOT_BETTER
        # A shot that wins has no outcome until it is posted; the one that it replaces has.
        return ShotOutcome.NOT_BETTER if visit.best.replace(shot) else None

    def _rejection(self, visit: OngoingVisit, quality: Quality) -> ShotOutcome | None:
        """What becomes of a shot that can win no more, neither to be posted nor to be in the facen."""
        if quality.score < self._rules.min_score:
            return ShotOutcome.LOW_QUALITY
        may_win = visit.best.beaten_by(quality.score) or visit.shots.wants(quality.score)
        return None if may_win else ShotOutcome.NOT_BETTER

    def _count(self, outcome: ShotOutcome) -> None:
        self._observer.shot(self._cam_id, outcome.value)


def lies_in(region: Region, face: Detection, frame: Frame) -> bool:
    """Whether the middle of a face of this frame is in the region."""
    x, y = face.bbox.centre
    return region.contains(x / frame.pixels.width, y / frame.pixels.height)


def _add_co_visible(visit: OngoingVisit, other: OngoingVisit) -> None:
    visit.co_visible.pop(other.id, None)
    visit.co_visible[other.id] = None
    if len(visit.co_visible) > _MAX_CO_VISIBLE:
        del visit.co_visible[next(iter(visit.co_visible))]


def _is_face(track: Track, visit: OngoingVisit) -> bool:
    """Whether the track stands for a face: seen more than once, or very surely."""
    return track.hits > 1 or visit.surest >= _CERTAIN

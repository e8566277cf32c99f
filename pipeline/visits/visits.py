"""The visits at one camera: rates their shots and decides which to post, and when.

A visit is a track, and ends with it: see `pipeline.tracking.tracker`.

Shots are rated in steps of growing cost: size and position, geometry of the landmarks, luma, refined
landmarks, recognisability. A step is skipped for a shot that can no longer be posted or enter the facen.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from pipeline.faces.detector import Detector
from pipeline.faces.quality import assess, pose, upper_bound
from pipeline.faces.recognisability import min_log_odds
from pipeline.faces.refine import refine
from pipeline.models.loader import Models
from pipeline.tracking.appearance_cache import AppearanceCache
from pipeline.tracking.tracker import Track
from pipeline.types import Detection, EndedVisit, Frame, PipelineObserver, Quality
from pipeline.visits.best_shot import BestShot, Posting, Shot, ShotOutcome
from pipeline.visits.regions import Region
from pipeline.visits.visit_shots import VisitShots

_MIN_SINGLE_SCORE = 0.8
"""Minimum detector score of a face that was detected in a single frame."""

_MAX_UPRIGHT_ROLL_DEGREES = 45.0

_MAX_CO_VISIBLE = 200
"""Maximum number of co-visible visits that a visit remembers, the latest ones."""


@dataclass(frozen=True, slots=True)
class ShotRules:
    """Requirements for shots, and the posting mode; see `pipeline.stages.StageSettings`."""

    posting: Posting
    post_interval_seconds: float
    min_face_px: int
    min_score: float
    roi: Region
    max_shots: int
    """Maximum number of shots in a visit's facen."""
    store_unrecognisable: bool
    max_visit_seconds: float = math.inf
    """Maximum time until a shot of an ongoing visit is posted."""


_MIN_DISTANCE = 0.25
"""Minimum distance between the boxes of two people, as a share of the longer side of a box. A false detection
of hair or a hand is closer to the face of the same person."""


@dataclass(slots=True)
class Presence:
    """A visit as other visits remember it."""

    visit_id: str
    is_face: bool = False
    """Whether a shot of the visit was good enough to post."""


@dataclass(slots=True)
class OngoingVisit:
    id: str
    started_at: datetime
    best: BestShot
    shots: VisitShots
    presence: "Presence"
    seen_together: dict[str, "Presence"] = field(default_factory=dict)
    """Visits that were visible in the same frame at a distance, by id, the latest last."""
    max_score: float = 0.0
    """Highest detector score."""
    upright: bool = False
    """Whether refinement has shown that the face is upright."""
    appearance: AppearanceCache = field(default_factory=AppearanceCache)
    """Known appearances of the face."""
    announced: bool = False
    """Whether the visit was reported to the observer."""
    seen_at: datetime = field(init=False)
    """When the face was last in view."""

    def __post_init__(self) -> None:
        self.seen_at = self.started_at

    @property
    def co_visible(self) -> tuple[str, ...]:
        """The ids of the co-visible visits that turned out to be faces: other people."""
        return tuple(other.visit_id for other in self.seen_together.values() if other.is_face)

    def refine(self, detector: Detector, luma: NDArray[np.uint8], found: Detection) -> Detection:
        """As `pipeline.faces.refine.refine`, but checks the orientation only until the face was upright
        once."""
        refined = refine(detector, luma, found, upright=self.upright)
        self.upright |= (
            bool(refined.near_score) and abs(pose(refined.landmarks).roll) < _MAX_UPRIGHT_ROLL_DEGREES
        )
        return refined


@dataclass(frozen=True, slots=True)
class Post:
    """A shot to post, and the posting mode that selected it."""

    visit: OngoingVisit
    shot: Shot
    mode: Posting
    is_last: bool = False
    """Whether the visit has ended."""


class Visits:
    """The ongoing visits at one camera, one per track. Not thread-safe."""

    def __init__(self, cam_id: str, rules: ShotRules, models: Models, observer: PipelineObserver) -> None:
        self._cam_id = cam_id
        self._rules = rules
        self._near_detector = models.near_detector
        self._recognisability = models.recognisability
        self._observer = observer
        self._visits: dict[int, OngoingVisit] = {}

    def observe(self, tracks: Sequence[Track], frame: Frame) -> None:
        """Rate the current detections of these tracks, and count their outcomes."""
        luma: NDArray[np.uint8] | None = None
        for track in tracks:
            if track.number not in self._visits:
                self._visits[track.number] = self._begin(track, frame)
        self._record_co_visibility([track for track in tracks if track.is_certain])
        for track in tracks:
            detection, visit = track.detection, self._visits[track.number]
            visit.max_score, visit.seen_at = max(visit.max_score, detection.score), frame.captured_at
            outcome = self._prefilter(visit, detection, frame)
            if outcome is None:
                luma = frame.pixels.luma() if luma is None else luma
                outcome = self._judge(visit, detection, frame, luma)
            if outcome is not None:
                self._count(outcome)

    def newly_usable(self, tracks: Sequence[Track]) -> list[tuple[OngoingVisit, Shot]]:
        """The visits of these tracks whose first usable face was found just now, with that face."""
        found = []
        for track in tracks:
            visit = self._visits[track.number]
            if visit.announced or (shot := visit.best.unposted) is None or not _is_face(track, visit):
                continue
            visit.announced = True
            found.append((visit, shot))
        return found

    @property
    def any_good(self) -> bool:
        """Whether an ongoing visit has a shot worth posting."""
        return any(visit.best.has_shot for visit in self._visits.values())

    def visit_of(self, track: Track) -> OngoingVisit | None:
        """The visit of a track."""
        return self._visits.get(track.number)

    def due_crops(self, now: float) -> list[tuple[OngoingVisit, Shot]]:
        """The shots to crop at this media time, because their intervals have ended."""
        return [
            (visit, shot) for visit in self._visits.values() if (shot := visit.shots.due(now)) is not None
        ]

    def due_posts(self, tracks: Sequence[Track], now: float) -> list[Post]:
        """The posts that are due at this media time for these ongoing visits."""
        mode = Posting.OVERALL if self._rules.posting is Posting.OVERALL else Posting.REALTIME
        posts = []
        for track in tracks:
            visit = self._visits[track.number]
            if _is_face(track, visit) and (shot := visit.best.due(now)) is not None:
                posts.append(Post(visit, shot, mode))
        return posts

    def end(self, tracks: Sequence[Track]) -> list[Post]:
        """End the visits of these tracks; returns the remaining posts."""
        last = Posting.REALTIME if self._rules.posting is Posting.REALTIME else Posting.OVERALL
        posts = []
        for track in tracks:
            visit = self._visits.pop(track.number)
            shot, outcome = visit.best.last()
            if not _is_face(track, visit):
                if shot is not None:
                    self._count(ShotOutcome.LOW_QUALITY)
                continue
            self._observer.visit_ended(
                EndedVisit(
                    self._cam_id, visit.id, visit.started_at, visit.seen_at, visit.announced, shot is not None
                )
            )
            if shot is not None:
                posts.append(Post(visit, shot, last, is_last=True))
            elif outcome is not None:
                self._count(outcome)
        return posts

    def _begin(self, track: Track, frame: Frame) -> OngoingVisit:
        moment = frame.captured_at.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        rules = self._rules
        best = BestShot(rules.posting, rules.post_interval_seconds, rules.max_visit_seconds)
        shots = VisitShots(self._rules.max_shots)
        visit_id = f"{self._cam_id}-{moment}-{track.number}"
        return OngoingVisit(visit_id, frame.captured_at, best, shots, Presence(visit_id))

    def _record_co_visibility(self, tracks: Sequence[Track]) -> None:
        """Record co-visible visits. Boxes that overlap or nearly touch may belong to one head."""
        for first, second in combinations(tracks, 2):
            visit, other = self._visits[first.number], self._visits[second.number]
            if other.id in visit.seen_together and visit.id in other.seen_together:
                continue
            if first.detection.bbox.widened(_MIN_DISTANCE).intersection(second.detection.bbox).area == 0:
                _add_co_visible(visit, other)
                _add_co_visible(other, visit)

    def _prefilter(self, visit: OngoingVisit, detection: Detection, frame: Frame) -> ShotOutcome | None:
        """Rate a shot without its pixels; None if it may still be posted or enter the facen."""
        if min(detection.bbox.width, detection.bbox.height) < self._rules.min_face_px:
            return ShotOutcome.SMALL
        if not lies_in(self._rules.roi, detection, frame):
            return ShotOutcome.OUTSIDE_ROI
        quality = upper_bound(self._with_best_score(detection), frame.pixels.width, frame.pixels.height)
        return self._rejection(visit, quality)

    def _judge(
        self, visit: OngoingVisit, detection: Detection, frame: Frame, luma: NDArray[np.uint8]
    ) -> ShotOutcome | None:
        """Rate a shot by its pixels, and keep a good one; None if its outcome is still open."""
        quality = assess(luma, self._with_best_score(detection))
        if (outcome := self._rejection(visit, quality)) is not None:
            return outcome
        if self._near_detector is not None:
            detection = visit.refine(self._near_detector, luma, detection)
            quality = assess(luma, detection)
            if (outcome := self._rejection(visit, quality)) is not None:
                return outcome
        log_odds = None if self._recognisability is None else self._recognisability.log_odds(luma, detection)
        if log_odds is not None:
            if log_odds < min_log_odds(quality) and not self._rules.store_unrecognisable:
                return ShotOutcome.UNRECOGNISABLE
            # `min_score` was checked without recognisability, so it is not checked again.
            quality = assess(luma, detection, log_odds)
            if not self._is_useful(visit, quality):
                return ShotOutcome.NOT_BETTER
        shot = Shot(frame, detection, quality)
        if visit.shots.wants(quality.score):
            visit.shots.hold(shot)
        if not visit.best.beaten_by(quality.score):
            return ShotOutcome.NOT_BETTER
        visit.presence.is_face = True
        # The new best shot has no outcome until it is posted; the replaced one has.
        return ShotOutcome.NOT_BETTER if visit.best.replace(shot) else None

    def _with_best_score(self, detection: Detection) -> Detection:
        """The detection with the highest score that a refinement could result in."""
        return detection if self._near_detector is None else replace(detection, near_score=1.0)

    def _rejection(self, visit: OngoingVisit, quality: Quality) -> ShotOutcome | None:
        """The outcome of a shot that can neither be posted nor enter the facen; None if it can."""
        if quality.score < self._rules.min_score:
            return ShotOutcome.LOW_QUALITY
        return None if self._is_useful(visit, quality) else ShotOutcome.NOT_BETTER

    def _is_useful(self, visit: OngoingVisit, quality: Quality) -> bool:
        """Whether a shot of this quality would be posted or enter the facen."""
        return visit.best.beaten_by(quality.score) or visit.shots.wants(quality.score)

    def _count(self, outcome: ShotOutcome) -> None:
        self._observer.shot(self._cam_id, outcome.value)


def lies_in(region: Region, face: Detection, frame: Frame) -> bool:
    """Whether the centre of a face is in the region."""
    x, y = face.bbox.centre
    return region.contains(x / frame.pixels.width, y / frame.pixels.height)


def _add_co_visible(visit: OngoingVisit, other: OngoingVisit) -> None:
    visit.seen_together.pop(other.id, None)
    visit.seen_together[other.id] = other.presence
    if len(visit.seen_together) > _MAX_CO_VISIBLE:
        del visit.seen_together[next(iter(visit.seen_together))]


def _is_face(track: Track, visit: OngoingVisit) -> bool:
    """Whether the track is a face: detected more than once, or with a high score."""
    return track.hits > 1 or visit.max_score >= _MIN_SINGLE_SCORE

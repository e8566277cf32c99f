"""Which picture of a visit is posted, and when."""

from dataclasses import dataclass
from enum import StrEnum

from pipeline.types import Detection, Frame, Quality

BETTER_BY = 0.1
"""Quality scores nearer to each other than this are the same; a change of picture would gain nothing."""

_FIRST_LOOK_SECONDS = 0.5
"""How long the first post waits for a better picture: the first one is taken as the person walks in."""


class Posting(StrEnum):
    """When the best shot of a visit is posted."""

    REALTIME = "realtime"
    """The best so far, every so many seconds, when it got better."""
    OVERALL = "overall"
    """One, when the visit has ended."""
    BOTH = "both"


class ShotOutcome(StrEnum):
    """What became of a shot."""

    POSTED = "posted"
    LOW_QUALITY = "low_quality"
    SMALL = "small"
    OUTSIDE_ROI = "outside_roi"
    DUPLICATE = "duplicate"
    """It would have been posted, but the same picture of this visit already was."""
    NOT_BETTER = "not_better"


@dataclass(frozen=True, slots=True)
class Shot:
    """One good picture of a track. The frame is kept with it; its pixels are converted only if it is
    posted."""

    frame: Frame
    detection: Detection
    quality: Quality


class BestShot:
    """The choice among the shots of one visit. Times are media time, seconds."""

    def __init__(self, posting: Posting, interval_seconds: float) -> None:
        self._realtime = posting in (Posting.REALTIME, Posting.BOTH)
        self._overall = posting in (Posting.OVERALL, Posting.BOTH)
        self._interval = interval_seconds
        self._best_score: float | None = None
        self._waiting: Shot | None = None
        """The best shot, until it is posted; then its frame, some megabytes, is let go."""
        self._next_post: float | None = None

    @property
    def has_shot(self) -> bool:
        """Whether there is a best shot, posted or not."""
        return self._best_score is not None

    def beaten_by(self, score: float) -> bool:
        """Whether a shot with this quality score would become the best."""
        return self._best_score is None or score > self._best_score + BETTER_BY

    def replace(self, shot: Shot) -> bool:
        """Makes the shot the best, which it must be (see `beaten_by`). True: the one before was never posted,
        and now never will be."""
        replaced = self._waiting is not None
        self._best_score, self._waiting = shot.quality.score, shot
        if self._next_post is None:
            self._next_post = shot.frame.media_time + min(self._interval, _FIRST_LOOK_SECONDS)
        return replaced

    def due(self, time: float) -> Shot | None:
        """The shot to post now, while the visit goes on."""
        if not self._realtime or self._next_post is None or time < self._next_post or self._waiting is None:
            return None
        self._next_post = time + self._interval
        return self._posted()

    def last(self) -> tuple[Shot | None, ShotOutcome | None]:
        """The visit has ended: the shot to post, or what became of the best one instead."""
        if self._waiting is not None:
            return self._posted(), None
        was_posted = self._best_score is not None
        return None, ShotOutcome.DUPLICATE if was_posted and self._overall else None

    def _posted(self) -> Shot | None:
        shot, self._waiting = self._waiting, None
        return shot

"""Selects the best shot of a visit, and decides when to post it."""

import math
from dataclasses import dataclass
from enum import StrEnum

from pipeline.types import Detection, Frame, Quality

BETTER_BY = 0.1
"""Minimum gain in quality score for a shot to replace another."""

_FIRST_POST_SECONDS = 0.5
"""Delay of the first post, because the first shots show the person still walking in."""


class Posting(StrEnum):
    """When the best shot of a visit is posted."""

    REALTIME = "realtime"
    """The best shot so far, at intervals, if it has improved."""
    OVERALL = "overall"
    """The best shot of the whole visit when it ends; in a long visit also at intervals."""
    BOTH = "both"


class ShotOutcome(StrEnum):
    """Outcome of a shot, as counted in `facend_shots_total`."""

    POSTED = "posted"
    LOW_QUALITY = "low_quality"
    UNRECOGNISABLE = "unrecognisable"
    SMALL = "small"
    OUTSIDE_ROI = "outside_roi"
    DUPLICATE = "duplicate"
    """The same picture of this visit was already posted."""
    NOT_BETTER = "not_better"


@dataclass(frozen=True, slots=True)
class Shot:
    """A detection that passed the quality checks, with its frame, which is converted only if needed."""

    frame: Frame
    detection: Detection
    quality: Quality


class BestShot:
    """The best shot of one visit. Times are seconds of media time."""

    def __init__(self, posting: Posting, interval_seconds: float, max_seconds: float = math.inf) -> None:
        """`max_seconds`: with `overall`, interval at which a long visit is posted, if there is a better shot
        than the posted one."""
        self._realtime = posting in (Posting.REALTIME, Posting.BOTH)
        self._overall = posting in (Posting.OVERALL, Posting.BOTH)
        self._interval = interval_seconds if self._realtime else max_seconds
        self._best_score: float | None = None
        self._waiting: Shot | None = None
        """The best shot while it is not posted; its frame is released afterwards."""
        self._next_post: float | None = None

    @property
    def unposted(self) -> Shot | None:
        """The best shot if it is not posted yet."""
        return self._waiting

    @property
    def has_shot(self) -> bool:
        """Whether there is a best shot, posted or not."""
        return self._best_score is not None

    def beaten_by(self, score: float) -> bool:
        """Whether a shot with this quality score would become the best."""
        return self._best_score is None or score > self._best_score + BETTER_BY

    def replace(self, shot: Shot) -> bool:
        """Replace the best shot; see `beaten_by`. Returns whether the previous one was never posted."""
        replaced = self._waiting is not None
        self._best_score, self._waiting = shot.quality.score, shot
        if self._next_post is None:
            first = min(self._interval, _FIRST_POST_SECONDS) if self._realtime else self._interval
            self._next_post = shot.frame.media_time + first
        return replaced

    def due(self, time: float) -> Shot | None:
        """The shot to post at this time during the visit."""
        if self._next_post is None or time < self._next_post or self._waiting is None:
            return None
        self._next_post = time + self._interval
        return self._release()

    def last(self) -> tuple[Shot | None, ShotOutcome | None]:
        """At the end of the visit: the shot to post, or the outcome to count instead."""
        if self._waiting is not None:
            return self._release(), None
        was_posted = self._best_score is not None
        return None, ShotOutcome.DUPLICATE if was_posted and self._overall else None

    def _release(self) -> Shot | None:
        shot, self._waiting = self._waiting, None
        return shot

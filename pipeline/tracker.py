"""Detections of one face, followed from frame to frame.

Each track predicts where its face is now; predictions and detections are paired so that the whole costs least
(Hungarian method, Kuhn 1955). As in ByteTrack (Zhang et al. 2022, arXiv 2110.06864) the sure detections
choose first and the doubtful ones may only continue a track, never begin one: a face that is half covered
or blurred for a moment keeps its track, and a pattern in the wallpaper gets none.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from pipeline.types import Detection, Rectangle

_IMPOSSIBLE = 1e6


@dataclass(frozen=True, slots=True)
class TrackerSettings:
    start_score: float = 0.6
    """The detector's score from which a detection may begin a track."""
    timeout_seconds: float = 1.5
    """How long a face may be out of sight before its track ends; longer than a second of occlusion."""


class Track:
    """One face over time. Positions are pixels of the full frame, times seconds of media time."""

    def __init__(self, number: int, detection: Detection, time: float) -> None:
        self.number = number
        self.first_seen = time
        self.last_seen = time
        self.hits = 1
        self.detection = detection
        self._speed = (0.0, 0.0)
        self._growth = 0.0

    def predict(self, time: float) -> Rectangle:
        """Where the face is at this time, if it goes on as it did."""
        # Nobody keeps a course for long; after half a second the speed says little.
        ahead = min(time - self.last_seen, 0.5)
        box = self.detection.bbox
        x, y = box.centre
        x, y = x + self._speed[0] * ahead, y + self._speed[1] * ahead
        size = math.exp(self._growth * ahead) / 2
        return Rectangle(
            x - box.width * size, y - box.height * size, x + box.width * size, y + box.height * size
        )

    def see(self, detection: Detection, time: float) -> None:
        """The face is here now."""
        passed = time - self.last_seen
        if passed > 0:
            old, new = self.detection.bbox, detection.bbox
            moved = [(b - a) / passed for a, b in zip(old.centre, new.centre, strict=True)]
            growth = math.log(_size(new) / _size(old)) / passed
            # A box trembles by a few pixels; half of the old speed stays so that the tremble evens out.
            keep = 0.5 if self.hits > 1 else 0.0
            self._speed = (
                keep * self._speed[0] + (1 - keep) * moved[0],
                keep * self._speed[1] + (1 - keep) * moved[1],
            )
            self._growth = keep * self._growth + (1 - keep) * growth
        self.detection = detection
        self.last_seen = time
        self.hits += 1


class Tracker:
    """Follows the faces of one camera. Deterministic; not thread-safe."""

    def __init__(self, settings: TrackerSettings | None = None) -> None:
        self._settings = settings or TrackerSettings()
        self._tracks: list[Track] = []
        self._last_number = 0

    @property
    def tracks(self) -> Sequence[Track]:
        """The tracks that have not ended, seen just now or not."""
        return self._tracks

    def update(self, detections: Sequence[Detection], time: float) -> tuple[list[Track], list[Track]]:
        """The faces of the frame at this time: the tracks that were seen in it, and those that ended before
        it.

        Times never go back.
        """
        ended = self._end([t for t in self._tracks if time - t.last_seen > self._settings.timeout_seconds])
        sure = [d for d in detections if d.score >= self._settings.start_score]
        doubtful = [d for d in detections if d.score < self._settings.start_score]
        pairs, waiting, new = _pair(self._tracks, sure, time)
        more, _, _ = _pair(waiting, doubtful, time)
        seen = []
        for track, detection in [*pairs, *more]:
            track.see(detection, time)
            seen.append(track)
        for detection in new:
            self._last_number += 1
            track = Track(self._last_number, detection, time)
            self._tracks.append(track)
            seen.append(track)
        return sorted(seen, key=lambda track: track.number), ended

    def finish(self) -> list[Track]:
        """Ends all tracks."""
        return self._end(list(self._tracks))

    def _end(self, tracks: list[Track]) -> list[Track]:
        self._tracks = [track for track in self._tracks if track not in tracks]
        return tracks


def _pair(
    tracks: Sequence[Track], detections: Sequence[Detection], time: float
) -> tuple[list[tuple[Track, Detection]], list[Track], list[Detection]]:
    """Pairs, the tracks without a detection, and the detections without a track."""
    if not tracks or not detections:
        return [], list(tracks), list(detections)
    costs = np.array([[_cost(track, detection.bbox, time) for detection in detections] for track in tracks])
    rows, columns = linear_sum_assignment(costs)
    good = [
        (row, column) for row, column in zip(rows, columns, strict=True) if costs[row, column] < _IMPOSSIBLE
    ]
    taken_rows, taken_columns = {row for row, _ in good}, {column for _, column in good}
    return (
        [(tracks[row], detections[column]) for row, column in good],
        [track for row, track in enumerate(tracks) if row not in taken_rows],
        [detection for column, detection in enumerate(detections) if column not in taken_columns],
    )


def _cost(track: Track, box: Rectangle, time: float) -> float:
    """How unlikely it is that the track's face is in this box: from 0 to about 4, or impossible.

    The longer the face was out of sight, the further it may have gone from where it was expected. A face is
    some 20 cm high, so a person who walks by moves 7 of its sizes a second; while the speed is not known,
    that is allowed for, later only what a change of pace can make.
    """
    expected = track.predict(time)
    size = (_size(expected) + _size(box)) / 2
    distance = math.dist(expected.centre, box.centre) / size
    ratio = abs(math.log(_size(box) / _size(expected)))
    passed = time - track.last_seen
    overlap = expected.iou(box)
    reach = min(3.0, 0.5 + 6 * passed) if track.hits == 1 else min(2.5, 0.5 + 2 * passed)
    near = distance <= reach and ratio <= 0.5 + 0.3 * min(passed, 1.0)
    return 1 - overlap + 0.5 * distance + 0.5 * ratio if near or overlap >= 0.3 else _IMPOSSIBLE


def _size(box: Rectangle) -> float:
    return math.sqrt(max(box.area, 1.0))

"""Multi-object tracking of faces; also decides when a track, and so a visit, ends.

Each track predicts its position; predictions and detections are assigned at minimum total cost (Hungarian
method, Kuhn 1955). As in ByteTrack (Zhang et al. 2022, arXiv 2110.06864), high-score detections are assigned
first. Low-score ones may continue a track but never begin one: a face that is half covered or blurred for a
moment keeps its track, while a pattern in the wallpaper does not begin one.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from pipeline.types import Detection, Rectangle

AppearanceCheck = Callable[["Track", Detection], bool]
"""Whether a detection looks like the face of the track at its position; True if unknown."""

_IMPOSSIBLE = 1e6
"""Cost of an assignment that is not allowed."""

_MAX_EXTRAPOLATION_SECONDS = 0.5
"""Maximum time for which motion is extrapolated; people change direction."""

_MAX_GROWTH = 1.6
"""Maximum growth of ln(size) per second: a factor of five. A box that becomes fully visible seems to grow
much faster."""

_STILL_IOU = 0.8
"""Minimum IoU between boxes of a face that counts as not moving."""

_STILL_SECONDS = 20.0
"""A face that does not move for this long is a poster or a screen."""


_HEAD_MARGIN = 0.5
"""Margin of the head around a face box, as a share of the box's longer side. The head occludes other
faces."""

_OCCLUDED_SHARE = 0.5
"""Covered share of a predicted box from which the face counts as occluded."""

_MAX_OCCLUSION_SECONDS = 4.0
"""Maximum duration of an occlusion; a face that is seen again later begins a new visit."""


@dataclass(frozen=True, slots=True)
class TrackerSettings:
    start_score: float = 0.6
    """Minimum detector score to begin a track."""
    timeout_seconds: float = 1.5
    """Maximum time without detection, occlusion aside, before a track ends."""
    still_timeout_seconds: float = 30.0
    """The same for a face that does not move. Longer, because a poster is not detected in every frame."""


class Track:
    """One face over time. Positions in pixels of the full frame, times in seconds of media time."""

    def __init__(self, number: int, detection: Detection, time: float, start_score: float = 0.0) -> None:
        """`start_score`: see `TrackerSettings`."""
        self.number = number
        self._start_score = start_score
        self.first_seen = time
        self.last_seen = time
        self._last_explained = time
        """Last detection or occlusion."""
        self.hits = 1
        """Number of detections."""
        self.detection = detection
        self._speed = (0.0, 0.0)
        self._growth = 0.0
        self._anchor = detection.bbox
        self._still_since = time

    @property
    def still_seconds(self) -> float:
        """Seconds without movement up to the last detection."""
        return self.last_seen - self._still_since

    @property
    def is_certain(self) -> bool:
        """Whether the score of the last detection is high enough to begin a track."""
        return self.detection.score >= self._start_score

    def unexplained_seconds(self, time: float) -> float:
        """Seconds without a detection and without occlusion."""
        return time - self._last_explained

    def occlude(self, time: float) -> None:
        """Record that another head covers the face at this time."""
        if time - self.last_seen <= _MAX_OCCLUSION_SECONDS:
            self._last_explained = time

    def predict(self, time: float) -> Rectangle:
        """The box at this time, extrapolated with constant velocity."""
        ahead = min(time - self.last_seen, _MAX_EXTRAPOLATION_SECONDS)
        box = self.detection.bbox
        x, y = box.centre
        x, y = x + self._speed[0] * ahead, y + self._speed[1] * ahead
        size = math.exp(self._growth * ahead) / 2
        return Rectangle(
            x - box.width * size, y - box.height * size, x + box.width * size, y + box.height * size
        )

    def update(self, detection: Detection, time: float) -> None:
        """Add a detection."""
        passed = time - self.last_seen
        if passed > 0:
            old, new = self.detection.bbox, detection.bbox
            moved = [(b - a) / passed for a, b in zip(old.centre, new.centre, strict=True)]
            growth = math.log(_size(new) / _size(old)) / passed
            growth = max(-_MAX_GROWTH, min(_MAX_GROWTH, growth))
            # Smoothing: boxes jitter by a few pixels.
            keep = 0.5 if self.hits > 1 else 0.0
            self._speed = (
                keep * self._speed[0] + (1 - keep) * moved[0],
                keep * self._speed[1] + (1 - keep) * moved[1],
            )
            self._growth = keep * self._growth + (1 - keep) * growth
        if detection.bbox.iou(self._anchor) < _STILL_IOU:
            self._anchor, self._still_since = detection.bbox, time
        self.detection = detection
        self.last_seen = self._last_explained = time
        self.hits += 1


class Tracker:
    """Tracks the faces of one camera. Deterministic; not thread-safe."""

    def __init__(self, settings: TrackerSettings | None = None) -> None:
        self._settings = settings or TrackerSettings()
        self._tracks: list[Track] = []
        self._last_number = 0

    @property
    def tracks(self) -> Sequence[Track]:
        """The tracks that have not ended."""
        return self._tracks

    def update(
        self, detections: Sequence[Detection], time: float, alike: AppearanceCheck | None = None
    ) -> tuple[list[Track], list[Track]]:
        """Assign the detections of a frame; returns the tracks seen in it, and the tracks that ended before
        it.

        Times must not decrease. `alike` checks the appearance of each detection that continues a track by its
        position; without it, the position alone decides.
        """
        ended = self._end([track for track in self._tracks if self._has_ended(track, time)])
        certain = [d for d in detections if d.score >= self._settings.start_score]
        uncertain = [d for d in detections if d.score < self._settings.start_score]
        pairs, unmatched, new = _assign(self._tracks, certain, time)
        if alike is not None:
            pairs, new = self._check_appearance(pairs, unmatched, new, time, alike)
            unmatched = [track for track in unmatched if all(track is not matched for matched, _ in pairs)]
        more, _, _ = _assign(unmatched, uncertain, time)
        seen = []
        for track, detection in [*pairs, *more]:
            track.update(detection, time)
            seen.append(track)
        for track in self._tracks:
            if track not in seen and any(
                _occludes(other.detection.bbox, track.predict(time)) for other in seen
            ):
                track.occlude(time)
        for detection in new:
            self._last_number += 1
            track = Track(self._last_number, detection, time, self._settings.start_score)
            self._tracks.append(track)
            seen.append(track)
        return sorted(seen, key=lambda track: track.number), ended

    def _has_ended(self, track: Track, time: float) -> bool:
        settings = self._settings
        still = track.still_seconds >= _STILL_SECONDS
        timeout = settings.still_timeout_seconds if still else settings.timeout_seconds
        return track.unexplained_seconds(time) > max(timeout, settings.timeout_seconds)

    def _check_appearance(
        self,
        pairs: list[tuple[Track, Detection]],
        unmatched: Sequence[Track],
        new: list[Detection],
        time: float,
        alike: AppearanceCheck,
    ) -> tuple[list[tuple[Track, Detection]], list[Detection]]:
        """Separate pairs with different faces; returns the remaining pairs, and the detections without a
        track.

        A face that took the position of another face may belong to a lost track nearby.
        """
        mismatches = [pair for pair in pairs if not alike(*pair)]
        pairs = [pair for pair in pairs if pair not in mismatches]
        free = [*(track for track, _ in mismatches), *unmatched]
        for mismatched, detection in mismatches:
            others = [track for track in free if track is not mismatched]
            costs = [(_costs(track, [detection.bbox], time)[0], track) for track in others]
            near = sorted((pair for pair in costs if pair[0] < _IMPOSSIBLE), key=lambda pair: pair[0])
            match = next((track for _, track in near if alike(track, detection)), None)
            if match is None:
                new = [*new, detection]
            else:
                free.remove(match)
                pairs.append((match, detection))
        return pairs, new

    def finish(self) -> list[Track]:
        """End all tracks."""
        return self._end(list(self._tracks))

    def _end(self, tracks: list[Track]) -> list[Track]:
        self._tracks = [track for track in self._tracks if track not in tracks]
        return tracks


def _assign(
    tracks: Sequence[Track], detections: Sequence[Detection], time: float
) -> tuple[list[tuple[Track, Detection]], list[Track], list[Detection]]:
    """Assign detections to tracks; returns the pairs, the unmatched tracks and the unmatched detections."""
    if not tracks or not detections:
        return [], list(tracks), list(detections)
    boxes = [detection.bbox for detection in detections]
    costs = np.array([_costs(track, boxes, time) for track in tracks])
    rows, columns = linear_sum_assignment(costs)
    matches = [
        (row, column) for row, column in zip(rows, columns, strict=True) if costs[row, column] < _IMPOSSIBLE
    ]
    matched_rows, matched_columns = {row for row, _ in matches}, {column for _, column in matches}
    return (
        [(tracks[row], detections[column]) for row, column in matches],
        [track for row, track in enumerate(tracks) if row not in matched_rows],
        [detection for column, detection in enumerate(detections) if column not in matched_columns],
    )


def _costs(track: Track, boxes: Sequence[Rectangle], time: float) -> list[float]:
    """Cost of assigning the track to each box: 0 to about 4, or `_IMPOSSIBLE`.

    The allowed distance grows with the time since the last detection. A face is about 20 cm high, so a person
    who walks by moves 7 face sizes per second. Once the speed is known, only changes of speed are allowed
    for.
    """
    expected = track.predict(time)
    centre, size = expected.centre, _size(expected)
    passed = time - track.last_seen
    reach = min(3.0, 0.5 + 6 * passed) if track.hits == 1 else min(2.5, 0.5 + 2 * passed)
    if track.still_seconds >= _STILL_SECONDS and passed > _MAX_EXTRAPOLATION_SECONDS:
        reach = 0.5  # a poster reappears where it was
    costs = []
    for box in boxes:
        other = _size(box)
        distance = math.dist(centre, box.centre) / ((size + other) / 2)
        ratio = abs(math.log(other / size))
        overlap = expected.iou(box)
        near = distance <= reach and ratio <= 0.5 + 0.3 * min(passed, 1.0)
        costs.append(1 - overlap + 0.5 * distance + 0.5 * ratio if near or overlap >= 0.3 else _IMPOSSIBLE)
    return costs


def _occludes(face: Rectangle, box: Rectangle) -> bool:
    """Whether the head around this face covers the box."""
    return face.widened(_HEAD_MARGIN).intersection(box).area >= _OCCLUDED_SHARE * box.area > 0


def _size(box: Rectangle) -> float:
    return math.sqrt(max(box.area, 1.0))

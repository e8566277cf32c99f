"""Multi-object tracking of faces.

Each track predicts its position; predictions and detections are assigned at minimum total cost (Hungarian
method, Kuhn 1955). As in ByteTrack (Zhang et al. 2022, arXiv 2110.06864) high-score detections are assigned
first, and low-score ones only continue a track, never begin one: a face that is half covered or blurred for a
moment keeps its track, and a pattern in the wallpaper gets none.
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

_AHEAD_SECONDS = 0.5
"""Maximum extrapolation: people change direction."""

_FASTEST_GROWTH = 1.6
"""Maximum growth in ln(size) per second: five times as large after a second. A box that becomes fully visible
seems to grow much faster."""

_STILL_IOU = 0.8
"""Minimum IoU between boxes of a face that does not move."""

_STILL_SECONDS = 20.0
"""A face that does not move for this long is a poster or a screen."""


_HEAD = 0.5
"""Margin of the head around a face box, as a share of its longer side; it occludes what is behind."""

_HIDDEN_SHARE = 0.5
"""Share of a predicted box from which the face counts as occluded."""

_LONGEST_HIDDEN_SECONDS = 4.0
"""Maximum occlusion; a face that is seen again later begins a new visit."""


@dataclass(frozen=True, slots=True)
class TrackerSettings:
    start_score: float = 0.6
    """Minimum detector score to begin a track."""
    timeout_seconds: float = 1.5
    """Maximum time without detection, occlusion aside, before a track ends."""
    still_timeout_seconds: float = 30.0
    """The same for a face that does not move, such as a poster, which is not detected in every frame."""


class Track:
    """One face over time. Positions in pixels of the full frame, times in seconds of media time."""

    def __init__(self, number: int, detection: Detection, time: float, start_score: float = 0.0) -> None:
        """`start_score`: see `TrackerSettings`."""
        self.number = number
        self._start_score = start_score
        self.first_seen = time
        self.last_seen = time
        self._accounted = time
        self.hits = 1
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
        """Whether the last detection would begin a track; a doubtful one only continues it."""
        return self.detection.score >= self._start_score

    def unexplained_seconds(self, time: float) -> float:
        """Seconds without a detection and without occlusion."""
        return time - self._accounted

    def occlude(self, time: float) -> None:
        """Records that another head covers the face now."""
        if time - self.last_seen <= _LONGEST_HIDDEN_SECONDS:
            self._accounted = time

    def predict(self, time: float) -> Rectangle:
        """The box at this time, extrapolated with constant velocity."""
        ahead = min(time - self.last_seen, _AHEAD_SECONDS)
        box = self.detection.bbox
        x, y = box.centre
        x, y = x + self._speed[0] * ahead, y + self._speed[1] * ahead
        size = math.exp(self._growth * ahead) / 2
        return Rectangle(
            x - box.width * size, y - box.height * size, x + box.width * size, y + box.height * size
        )

    def update(self, detection: Detection, time: float) -> None:
        """Adds a detection."""
        passed = time - self.last_seen
        if passed > 0:
            old, new = self.detection.bbox, detection.bbox
            moved = [(b - a) / passed for a, b in zip(old.centre, new.centre, strict=True)]
            growth = math.log(_size(new) / _size(old)) / passed
            growth = max(-_FASTEST_GROWTH, min(_FASTEST_GROWTH, growth))
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
        self.last_seen = self._accounted = time
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
        """Assigns the detections of a frame: returns the tracks seen in it, and the tracks that ended before
        it.

        Times never go back. `alike` checks each detection that continues a track by its position; without it
        the position alone decides.
        """
        ended = self._end([track for track in self._tracks if self._is_over(track, time)])
        sure = [d for d in detections if d.score >= self._settings.start_score]
        doubtful = [d for d in detections if d.score < self._settings.start_score]
        pairs, waiting, new = _pair(self._tracks, sure, time)
        if alike is not None:
            pairs, new = self._checked(pairs, waiting, new, time, alike)
            waiting = [track for track in waiting if all(track is not one for one, _ in pairs)]
        more, _, _ = _pair(waiting, doubtful, time)
        seen = []
        for track, detection in [*pairs, *more]:
            track.update(detection, time)
            seen.append(track)
        for track in self._tracks:
            if track not in seen and any(_hides(one.detection.bbox, track.predict(time)) for one in seen):
                track.occlude(time)
        for detection in new:
            self._last_number += 1
            track = Track(self._last_number, detection, time, self._settings.start_score)
            self._tracks.append(track)
            seen.append(track)
        return sorted(seen, key=lambda track: track.number), ended

    def _is_over(self, track: Track, time: float) -> bool:
        settings = self._settings
        still = track.still_seconds >= _STILL_SECONDS
        patience = settings.still_timeout_seconds if still else settings.timeout_seconds
        return track.unexplained_seconds(time) > max(patience, settings.timeout_seconds)

    def _checked(
        self,
        pairs: list[tuple[Track, Detection]],
        waiting: Sequence[Track],
        new: list[Detection],
        time: float,
        alike: AppearanceCheck,
    ) -> tuple[list[tuple[Track, Detection]], list[Detection]]:
        """The pairs whose appearance matches, and the detections without a track.

        A face that took the position of another one may belong to another track that was lost nearby.
        """
        strangers = [pair for pair in pairs if not alike(*pair)]
        pairs = [pair for pair in pairs if pair not in strangers]
        free = [*(track for track, _ in strangers), *waiting]
        for mistaken, detection in strangers:
            others = [track for track in free if track is not mistaken]
            costs = [(_costs(track, [detection.bbox], time)[0], track) for track in others]
            near = sorted((pair for pair in costs if pair[0] < _IMPOSSIBLE), key=lambda pair: pair[0])
            own = next((track for _, track in near if alike(track, detection)), None)
            if own is None:
                new = [*new, detection]
            else:
                free.remove(own)
                pairs.append((own, detection))
        return pairs, new

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
    boxes = [detection.bbox for detection in detections]
    costs = np.array([_costs(track, boxes, time) for track in tracks])
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


def _costs(track: Track, boxes: Sequence[Rectangle], time: float) -> list[float]:
    """Cost of assigning the track to each box: 0 to about 4, or `_IMPOSSIBLE`.

    The allowed distance grows with the time since the last detection. A face is about 20 cm high, so that a
    person who walks by moves 7 face sizes per second; once the speed is known, only its change is allowed
    for.
    """
    expected = track.predict(time)
    centre, size = expected.centre, _size(expected)
    passed = time - track.last_seen
    reach = min(3.0, 0.5 + 6 * passed) if track.hits == 1 else min(2.5, 0.5 + 2 * passed)
    if track.still_seconds >= _STILL_SECONDS and passed > _AHEAD_SECONDS:
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


def _hides(face: Rectangle, place: Rectangle) -> bool:
    """Whether the head around this face covers the place."""
    return face.widened(_HEAD).intersection(place).area >= _HIDDEN_SHARE * place.area > 0


def _size(box: Rectangle) -> float:
    return math.sqrt(max(box.area, 1.0))

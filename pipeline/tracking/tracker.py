"""Detections of one face, followed from frame to frame.

Each track predicts where its face is now; predictions and detections are paired so that the whole costs least
(Hungarian method, Kuhn 1955). As in ByteTrack (Zhang et al. 2022, arXiv 2110.06864) the sure detections
choose first and the doubtful ones may only continue a track, never begin one: a face that is half covered
or blurred for a moment keeps its track, and a pattern in the wallpaper gets none.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from pipeline.types import Detection, Rectangle

AppearanceCheck = Callable[["Track", Detection], bool]
"""Whether a detection looks like the face of the track whose place it is in; True if that cannot be told."""

_IMPOSSIBLE = 1e6

_AHEAD_SECONDS = 0.5
"""Nobody keeps a course for long; after half a second the speed says little."""

_FASTEST_GROWTH = 1.6
"""Logarithm of the size, a second: a face five times as large after a second is at arm's length. A box that
was half hidden and shows whole again seems to grow much faster."""

_STILL_IOU = 0.8
"""Boxes of a face that does not move tremble by less than this."""

_STILL_SECONDS = 20.0
"""Nobody stands as still as a picture for so long."""


_HEAD = 0.5
"""Of a face box's longer side: so far the head around it, with its hair, hides what is behind it."""

_HIDDEN_SHARE = 0.5
"""Of a face's place, from which on it is hidden."""

_LONGEST_HIDDEN_SECONDS = 4.0
"""Whoever was hidden for longer has gone elsewhere, and is a new visit when they are seen again."""


@dataclass(frozen=True, slots=True)
class TrackerSettings:
    start_score: float = 0.6
    """The detector's score from which a detection may begin a track."""
    timeout_seconds: float = 1.5
    """How long a face may be out of sight, with nobody in front of it, before its track ends."""
    still_timeout_seconds: float = 30.0
    """The same for a face that has not moved for long: a poster or a screen, of which the detector is not
    always sure. Else it would be a new visit each time."""


class Track:
    """One face over time. Positions are pixels of the full frame, times seconds of media time."""

    def __init__(self, number: int, detection: Detection, time: float) -> None:
        self.number = number
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
        """How long, up to when it was last seen, the face has not moved."""
        return self.last_seen - self._still_since

    def unexplained_seconds(self, time: float) -> float:
        """For how long nothing tells why the face is not seen."""
        return time - self._accounted

    def occlude(self, time: float) -> None:
        """Somebody stands in front of it now."""
        if time - self.last_seen <= _LONGEST_HIDDEN_SECONDS:
            self._accounted = time

    def predict(self, time: float) -> Rectangle:
        """Where the face is at this time, if it goes on as it did."""
        ahead = min(time - self.last_seen, _AHEAD_SECONDS)
        box = self.detection.bbox
        x, y = box.centre
        x, y = x + self._speed[0] * ahead, y + self._speed[1] * ahead
        size = math.exp(self._growth * ahead) / 2
        return Rectangle(
            x - box.width * size, y - box.height * size, x + box.width * size, y + box.height * size
        )

    def update(self, detection: Detection, time: float) -> None:
        """The face is here now."""
        passed = time - self.last_seen
        if passed > 0:
            old, new = self.detection.bbox, detection.bbox
            moved = [(b - a) / passed for a, b in zip(old.centre, new.centre, strict=True)]
            growth = math.log(_size(new) / _size(old)) / passed
            growth = max(-_FASTEST_GROWTH, min(_FASTEST_GROWTH, growth))
            # A box trembles by a few pixels; half of the old speed stays so that the tremble evens out.
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
    """Follows the faces of one camera. Deterministic; not thread-safe."""

    def __init__(self, settings: TrackerSettings | None = None) -> None:
        self._settings = settings or TrackerSettings()
        self._tracks: list[Track] = []
        self._last_number = 0

    @property
    def tracks(self) -> Sequence[Track]:
        """The tracks that have not ended, seen just now or not."""
        return self._tracks

    def update(
        self, detections: Sequence[Detection], time: float, alike: AppearanceCheck | None = None
    ) -> tuple[list[Track], list[Track]]:
        """The faces of the frame at this time: the tracks that were seen in it, and those that ended before
        it.

        Times never go back. `alike` is asked about each face that continues a track by its place; without it
        the place alone decides.
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
            track = Track(self._last_number, detection, time)
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
        """The pairs that look alike, and the detections without a track.

        Whoever stepped in front of another one is a stranger to their track, and perhaps one of a track that
        was lost beside it.
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
    """How unlikely it is that the track's face is in each of these boxes: from 0 to about 4, or impossible.

    The longer the face was out of sight, the further it may have gone from where it was expected. A face is
    some 20 cm high, so a person who walks by moves 7 of its sizes a second; while the speed is not known,
    that is allowed for, later only what a change of pace can make.
    """
    expected = track.predict(time)
    centre, size = expected.centre, _size(expected)
    passed = time - track.last_seen
    reach = min(3.0, 0.5 + 6 * passed) if track.hits == 1 else min(2.5, 0.5 + 2 * passed)
    if track.still_seconds >= _STILL_SECONDS and passed > _AHEAD_SECONDS:
        reach = 0.5  # what hangs on the wall comes back where it was
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
    """Whether the head of the one with this face is in front of this place."""
    return face.widened(_HEAD).intersection(place).area >= _HIDDEN_SHARE * place.area > 0


def _size(box: Rectangle) -> float:
    return math.sqrt(max(box.area, 1.0))

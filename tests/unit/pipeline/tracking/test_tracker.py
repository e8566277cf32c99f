"""Tracks follow faces from frame to frame."""

import numpy as np
import pytest

from pipeline.tracking.tracker import Tracker, TrackerSettings
from pipeline.types import Detection, Rectangle

FPS = 8


def face(x: float, y: float, size: float = 40, score: float = 0.9) -> Detection:
    return Detection(
        Rectangle(x - size / 2, y - size / 2, x + size / 2, y + size / 2), score, np.zeros((5, 2), np.float32)
    )


def test_a_walking_face_keeps_its_track() -> None:
    """It moves by half its size from frame to frame, and grows."""
    tracker = Tracker()
    numbers = set()
    for step in range(20):
        seen, _ = tracker.update([face(20 * step, 100, 40 * 1.05**step)], step / FPS)
        numbers |= {track.number for track in seen}
    assert numbers == {1}


def test_a_second_out_of_sight_does_not_end_a_track() -> None:
    """The person passes behind a pillar."""
    tracker = Tracker()
    for step in range(30):
        hidden = 10 <= step < 10 + FPS
        seen, ended = tracker.update([] if hidden else [face(100 + 6 * step, 100)], step / FPS)
        assert ended == []
        assert [track.number for track in seen] == ([] if hidden else [1])


@pytest.mark.parametrize(
    ("seconds", "beside", "number"),
    [(3.0, 30, 1), (3.0, 120, 3), (6.0, 30, 3)],
)
def test_an_occluded_face_keeps_its_track(seconds: float, beside: float, number: int) -> None:
    """For some seconds longer than the timeout; not without a person in front, and not for ever."""
    tracker = Tracker()
    behind, in_front = face(100, 100), face(100 + beside, 130, 60)
    tracker.update([behind, in_front], 0)
    for step in range(1, round(seconds * FPS)):
        tracker.update([in_front], step / FPS)
    seen, _ = tracker.update([behind, in_front], seconds)
    assert sorted(track.number for track in seen) == sorted({2, number})


def test_a_track_ends_once_after_the_timeout() -> None:
    """The next face at this position gets a new number."""
    tracker = Tracker(TrackerSettings(timeout_seconds=1.5))
    tracker.update([face(100, 100)], 0)
    endings = [time for time in np.arange(0.125, 4, 0.125) if tracker.update([], time)[1]]
    assert endings == [1.625]
    seen, _ = tracker.update([face(100, 100)], 5)
    assert [track.number for track in seen] == [2]


def test_crossing_faces_keep_their_tracks() -> None:
    """Although only one face is detected while they cross."""
    tracker = Tracker()
    for step in range(41):
        left, right = face(40 + 10 * step, 100), face(440 - 10 * step, 104)
        meet = left.bbox.iou(right.bbox) > 0.3
        tracker.update([left] if meet else [left, right], step / FPS)
    ends = {track.number: track.detection.bbox.centre[0] for track in tracker.tracks}
    assert ends == {1: 440, 2: 40}


def test_low_scores_continue_tracks_but_begin_none() -> None:
    """A detection below the starting score keeps a track alive and never makes one."""
    tracker = Tracker(TrackerSettings(start_score=0.6))
    assert tracker.update([face(300, 100, score=0.4)], 0) == ([], [])
    tracker.update([face(100, 100)], 0.1)
    seen, _ = tracker.update([face(102, 100, score=0.4), face(300, 100, score=0.4)], 0.2)
    assert [track.number for track in seen] == [1]


def test_a_distant_or_much_larger_face_begins_a_new_track() -> None:
    """Nobody crosses the picture, or grows threefold, between two frames."""
    tracker = Tracker()
    tracker.update([face(100, 100)], 0)
    assert [t.number for t in tracker.update([face(400, 100)], 0.1)[0]] == [2]
    assert [t.number for t in tracker.update([face(400, 100, size=130)], 0.2)[0]] == [3]


def test_finish_ends_all_tracks() -> None:
    """Numbers of tracks are not reused afterwards."""
    tracker = Tracker()
    tracker.update([face(100, 100), face(300, 100)], 0)
    assert [track.number for track in tracker.finish()] == [1, 2]
    assert list(tracker.tracks) == []
    assert tracker.update([face(100, 100)], 0.1)[0][0].number == 3


def test_tracking_works_at_two_frames_a_second() -> None:
    """A face moves by more than twice its size between frames."""
    tracker = Tracker()
    numbers = set()
    for step in range(8):
        seen, _ = tracker.update([face(100 + 100 * step, 100), face(100 + 100 * step, 300)], step / 2)
        numbers |= {track.number for track in seen}
    assert numbers == {1, 2}

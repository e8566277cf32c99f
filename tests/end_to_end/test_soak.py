"""`make soak` in short."""

from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from cameras.clips.write import write_clip
from daemon.demo.clip import FPS, demo_frames, sample_picture
from tests.soak import Plan, soak

EVERY = 3
PICTURES = slice(35, 185, EVERY)
"""Of the demo: ten seconds with visitors, five a second; the question is what stays, not how much works."""


def test_a_minute_with_four_cameras_and_visitors_leaves_nothing_behind(tmp_path: Path) -> None:
    """After a warm-up: no file or task more, no error, and no memory but what a young process settles.

    Pools of threads fill one by one, when there is so much to do at once; one left over by each sighting
    would be fifty. A frame that is kept would be a mebibyte, several times a second. How late the event loop
    was is said, not asked for: that tells what else the machine does.
    """
    clip = tmp_path / "small.mp4"
    pictures = islice(demo_frames(sample_picture()), PICTURES.start, PICTURES.stop, PICTURES.step)
    write_clip(clip, (np.asarray(cv2.resize(one, (640, 360)), np.uint8) for one in pictures), FPS // EVERY)
    outcome = soak(tmp_path, clip, Plan(measured=40, warm_up=20, row=10, max_fps=FPS // EVERY), print)
    print(outcome)
    assert outcome.errors == []
    assert outcome.exit_status == 0
    assert outcome.stored_late > 0
    assert outcome.threads <= 4
    assert outcome.files <= 0
    assert outcome.tasks <= 0
    assert outcome.growth <= 0.1

"""The rendered frames of the demo's clip."""

import itertools

import numpy as np
import pytest

from daemon.demo import clip as demo_clip


@pytest.fixture(scope="module")
def sample() -> np.ndarray:
    return demo_clip.sample_picture()


def test_a_frame_shows_the_visitor_where_it_says(sample: np.ndarray) -> None:
    """The picture differs from the empty hall around the head, and is the empty hall elsewhere."""
    walk = demo_clip.WALKS[0]
    number = round((walk.start + 2.0) * demo_clip.FPS)
    frames = list(itertools.islice(demo_clip.demo_frames(sample), number + 1))
    assert frames[-1].shape == (demo_clip.HEIGHT, demo_clip.WIDTH, 3)
    x, y, size = demo_clip.place(walk, number / demo_clip.FPS - walk.start)
    difference = np.abs(frames[-1].astype(int) - frames[0].astype(int)).mean(axis=2)
    reach = int(30 * size)
    head = difference[int(y) - reach : int(y) + reach, int(x) - reach : int(x) + reach]
    assert head.mean() > 20
    assert difference[:, 1000:].max() < 20


def test_the_frames_are_the_same_every_time(sample: np.ndarray) -> None:
    """Two runs make equal pictures, so that the demo shows the same to everybody."""
    first, second = (list(itertools.islice(demo_clip.demo_frames(sample), 5)) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_progress_counts_up_to_all_frames(sample: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """The progress callback gets each frame's number once, and the total."""
    monkeypatch.setattr(demo_clip, "SECONDS", 1)
    heard: list[tuple[int, int]] = []
    frames = list(demo_clip.demo_frames(sample, lambda done, count: heard.append((done, count))))
    assert heard == [(number + 1, demo_clip.FPS) for number in range(len(frames))]

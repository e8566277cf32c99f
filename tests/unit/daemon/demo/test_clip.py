"""The demo's clip: six real people, each of them twice."""

import sys
from pathlib import Path

import numpy as np
import pytest

from daemon.demo import clip as demo_clip
from daemon.demo.clip import DemoClipError


def test_everybody_comes_by_in_each_half_of_the_clip() -> None:
    """All six walk past within the first half and again within the second; the end cuts no walk short."""
    half = demo_clip.SECONDS / 2
    for begin in (0.0, half):
        walks = [walk for walk in demo_clip.WALKS if begin <= walk.start < begin + half]
        assert sorted(walk.person for walk in walks) == list(range(6))
        assert all(walk.start + demo_clip.WALK_SECONDS <= begin + half for walk in walks)


def test_two_people_at_once_keep_to_their_own_sides() -> None:
    """Never more than two people at once, and those two never cover each other's face."""
    pairs = 0
    for seconds in np.arange(0, demo_clip.SECONDS, 0.1):
        heads = [
            demo_clip.place(walk, seconds - walk.start)
            for walk in demo_clip.WALKS
            if 0 <= seconds - walk.start < demo_clip.WALK_SECONDS
        ]
        assert len(heads) <= 2
        if len(heads) == 2:
            pairs += 1
            (x1, _, size1), (x2, _, size2) = heads
            assert abs(x1 - x2) > 100 * (size1 + size2)
    assert pairs > 50


def test_every_face_grows_well_above_60_pixels_inside_the_picture() -> None:
    """Each visitor's face, 100 px wide at size 1, passes 90 px before its head touches the picture's edge."""
    for walk in demo_clip.WALKS:
        inside = [
            size
            for x, _, size in (demo_clip.place(walk, t) for t in np.arange(0, demo_clip.WALK_SECONDS, 0.05))
            if 75 * size < x < demo_clip.WIDTH - 75 * size
        ]
        assert max(inside) * 100 > 90


def test_another_picture_is_refused_by_its_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A different picture in insightface's place: the error names it and what to do; no clip appears."""
    package = tmp_path / "insightface"
    (package / "data/images").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / demo_clip.SAMPLE).write_bytes(b"another picture")
    monkeypatch.delitem(sys.modules, "insightface", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    clip = tmp_path / "demo.mp4"
    with pytest.raises(DemoClipError, match=r"t1\.jpg is not the sample picture.*requirements\.lock"):
        demo_clip.make_demo_clip(clip)
    assert not clip.exists()

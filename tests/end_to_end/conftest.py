from itertools import islice
from pathlib import Path

import pytest

from cameras.clips.write import write_clip
from daemon.demo.clip import FPS, demo_frames, make_demo_clip, sample_picture
from tests.mongo import ctx, mongo_url, store_settings, uploads, user

__all__ = ["ctx", "demo_clip", "mongo_url", "short_clip", "store_settings", "uploads", "user"]

DENSE_FRAMES = slice(35, 135)
"""Where the first two of the six are in view, one after the other and together."""


@pytest.fixture(scope="session")
def demo_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty seconds in which each of six people comes by twice."""
    path = tmp_path_factory.mktemp("clips") / "demo.mp4"
    make_demo_clip(path)
    return path


@pytest.fixture(scope="session")
def short_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven seconds with a visitor in view from the first frame on."""
    path = tmp_path_factory.mktemp("clips") / "short.mp4"
    frames = islice(demo_frames(sample_picture()), DENSE_FRAMES.start, DENSE_FRAMES.stop)
    write_clip(path, frames, FPS)
    return path

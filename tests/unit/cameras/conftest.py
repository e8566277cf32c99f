from pathlib import Path

import pytest

from cameras.clips.write import write_clip
from tests.clips import moving_pictures


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds, 320×240, 25 pictures a second, H.264."""
    path = tmp_path_factory.mktemp("clips") / "two seconds.mp4"
    write_clip(path, moving_pictures(50), 25)
    return path

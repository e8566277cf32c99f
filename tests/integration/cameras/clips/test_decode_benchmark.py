from pathlib import Path

import pytest

from cameras.clips.decode_benchmark import decode, frame_rate, length_seconds
from cameras.clips.write import write_clip
from cameras.errors import ClipError
from tests.clips import moving_pictures


def test_a_clip_is_decoded_again_and_again(tmp_path: Path) -> None:
    """As fast as it can be done, for as long as it is told."""
    write_clip(tmp_path / "one.mp4", moving_pictures(1), 25)
    whole = decode(tmp_path / "one.mp4", 0.5, paced=False)
    assert whole.frames == whole.key_frames > 1
    assert whole.cpu_seconds > 0


def test_paced_it_takes_as_long_as_the_clip_lasts(clip: Path) -> None:
    """25 frames a second and no more."""
    paced = decode(clip, 1.0, paced=True)
    assert paced.frames <= 27


def test_a_clip_says_how_fast_and_how_long_it_is(clip: Path, tmp_path: Path) -> None:
    """And what is none has an error in one line."""
    assert (frame_rate(clip), length_seconds(clip)) == (25.0, pytest.approx(4.0, abs=0.05))
    (tmp_path / "none.mp4").write_bytes(b"no clip")
    for ask in (frame_rate, lambda path: decode(path, 1.0, paced=False)):
        with pytest.raises(ClipError):
            ask(tmp_path / "none.mp4")

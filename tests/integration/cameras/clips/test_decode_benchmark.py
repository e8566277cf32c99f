from pathlib import Path

import pytest

from cameras.clips.decode_benchmark import decode, frame_rate, length_seconds
from cameras.clips.write import write_clip
from cameras.errors import ClipError
from tests.clips import moving_pictures


def test_a_clip_is_decoded_repeatedly_for_the_given_time(tmp_path: Path) -> None:
    """As fast as possible."""
    write_clip(tmp_path / "one.mp4", moving_pictures(1), 25)
    whole = decode(tmp_path / "one.mp4", 0.5, paced=False)
    assert whole.frames == whole.key_frames > 1
    assert whole.cpu_seconds > 0


def test_paced_decoding_takes_as_long_as_the_clip(clip: Path) -> None:
    """25 frames a second, not more."""
    paced = decode(clip, 1.0, paced=True)
    assert paced.frames <= 27


def test_frame_rate_and_length_of_a_clip_are_read(clip: Path, tmp_path: Path) -> None:
    """For a file that is no clip the error is one line."""
    assert (frame_rate(clip), length_seconds(clip)) == (25.0, pytest.approx(4.0, abs=0.05))
    (tmp_path / "none.mp4").write_bytes(b"no clip")
    for ask in (frame_rate, lambda path: decode(path, 1.0, paced=False)):
        with pytest.raises(ClipError):
            ask(tmp_path / "none.mp4")

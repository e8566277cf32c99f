"""Notes of earlier crashes that are damaged end nothing."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cameras.settings import CameraSettings
from daemon.runtime.crashes import HOLD_SECONDS, CrashNotes

CAMERA = CameraSettings(id="door", url="/clip.mp4")
NOW = 1_800_000_000.0
plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
notes = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["door", "crashes", "at", "settings", "x"]), inner, max_size=4)
    ),
    max_leaves=8,
)


def held(folder: Path, content: bytes) -> float:
    (folder / "crashes.json").write_bytes(content)
    known = CrashNotes(folder, lambda: NOW)
    seconds = known.held_seconds(CAMERA)
    known.blame(CAMERA)
    assert json.loads((folder / "crashes.json").read_bytes())["door"]["crashes"] >= 1
    return seconds


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"[", b"5", b"null", b"[]", b"\xff\xfe", b'{"door": 5}', b'{"door": {}}', b"[" * 100_000),
        b'{"door": {"crashes": "2", "at": 1, "settings": ""}}',
        b'{"door": {"crashes": 2, "at": NaN, "settings": ""}}',
        b'{"door": {"crashes": 2, "at": 1e400, "settings": 5}}',
    ],
)
def test_damaged_notes_hold_no_camera_back(tmp_path: Path, content: bytes) -> None:
    """And the next crash is noted as the first."""
    assert held(tmp_path, content) == 0


@given(note=notes)
def test_notes_of_any_content_end_nothing(note: object, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("notes")
    assert 0 <= held(folder, json.dumps(note).encode()) <= HOLD_SECONDS


def test_sound_notes_of_other_cameras_stay(tmp_path: Path) -> None:
    """One damaged note takes no other with it."""
    sound = {"crashes": 2, "at": NOW - 10, "settings": CAMERA.fingerprint}
    noted = json.dumps({"other": [1], "door": sound}).encode()
    assert held(tmp_path, noted) == HOLD_SECONDS - 10


def test_a_clock_that_was_ahead_holds_no_camera_longer(tmp_path: Path) -> None:
    ahead = {"crashes": 2, "at": NOW * 2, "settings": CAMERA.fingerprint}
    assert held(tmp_path, json.dumps({"door": ahead}).encode()) == HOLD_SECONDS


def test_folders_in_the_place_of_the_files_end_nothing(tmp_path: Path) -> None:
    """The start continues without the notes."""
    for name in ("crash.txt", "crashes.json"):
        (tmp_path / name).mkdir()
    known = CrashNotes(tmp_path)
    known.begin()
    assert known.held_seconds(CAMERA) == 0
    known.blame(CAMERA)

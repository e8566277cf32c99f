from datetime import UTC, datetime
from pathlib import Path

import pytest

from daemon.runtime.visit_log import known, shown_path, visit_line
from pipeline.types import Rectangle
from store.spool.recording import StoredSighting


def stored(**changes):
    facts = {
        "sighting_id": "1",
        "face_id": 42,
        "cam_id": "hall",
        "visit_id": "v",
        "captured_at": datetime(2026, 3, 1, 12, 0, 5, tzinfo=UTC),
        "media_time": 5.0,
        "person_id": 7,
        "created": False,
        "outcome": "matched",
        "friend": False,
        "confidence": 0.874,
        "score": -0.625,
        "bbox": Rectangle(0, 0, 1, 1),
        "photo": "",
        "normalized": "",
        "thumbnail": "https://pictures.example/a_thumb.jpeg",
    }
    return StoredSighting(**{**facts, **changes})


def test_a_line_tells_time_camera_person_friend_confidence_quality_and_thumbnail(monkeypatch):
    """All that a person who watches wants to know, the time in their own zone."""
    line = visit_line(stored())
    clock = stored().captured_at.astimezone()
    assert line.startswith(f"{clock:%H:%M:%S}  camera hall  person 7")
    for part in ("known", "not a friend", "confidence 0.87", "https://pictures.example/a_thumb.jpeg"):
        assert part in line
    assert "quality -0.6" in line
    assert "\n" not in line


def test_somebody_new_has_no_confidence_in_the_line():
    """The nearest stranger's likeness would only mislead."""
    line = visit_line(stored(created=True, outcome="created"))
    assert "new" in line
    assert "known" not in line
    assert "0.87" not in line


def test_a_friend_is_called_one():
    """And nobody else is."""
    assert "not a friend" not in visit_line(stored(friend=True))
    assert "friend" in visit_line(stored(friend=True))


def test_columns_do_not_jump():
    """Lines of new and known people, friends and others, are of one length."""
    lines = [
        stored(),
        stored(created=True, outcome="created", confidence=None),
        stored(friend=True, score=-4.9),
    ]
    assert len({len(visit_line(one)) for one in lines}) == 1


def test_a_face_without_a_person_is_nobody():
    """No person id is neither new nor known."""
    assert "nobody" in visit_line(stored(person_id=None, confidence=None))
    assert not known(stored(person_id=None))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("file:///work%20place/data/a.jpeg", "/work place/data/a.jpeg"),
        ("https://h/a%20b.jpeg", "https://h/a%20b.jpeg"),
    ],
)
def test_local_files_are_shown_as_paths(url, shown):
    """A path can be opened from the terminal; other URLs stay as they are."""
    assert shown_path(url) == shown


def test_a_file_below_the_current_folder_is_shown_from_there(tmp_path, monkeypatch):
    """Short enough to read."""
    monkeypatch.chdir(tmp_path)
    assert shown_path((Path.cwd() / "data" / "a.jpeg").as_uri()) == "data/a.jpeg"

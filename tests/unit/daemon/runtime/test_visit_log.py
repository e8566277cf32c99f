"""The log line of a visit, and the line of the demo."""

from datetime import UTC
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from structlog.testing import capture_logs

from daemon.config.settings import Settings
from daemon.events import EventBus, VisitUpdated
from daemon.events.producers import StoredSightings
from daemon.runtime import logs
from daemon.runtime.visit_log import VisitLog, reason, shown_path, visit_line
from tests.sightings import stored_sighting


def test_a_line_shows_site_time_camera_person_reason_and_picture():
    """What a person at a terminal wants to know, in the site's time zone."""
    line = visit_line(stored_sighting(person_name="Anna"), ZoneInfo("Asia/Tokyo"))
    assert line.startswith("21:00:05  camera hall  person 7 (Anna)  matched, confidence 0.87")
    assert line.endswith("  https://pictures.example/a_thumb.jpeg")
    assert "friend" not in line


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"outcome": "created", "created": True}, "new, no similar person"),
        ({"outcome": "ambiguous", "person_id": None}, "ambiguous, resembles a known person"),
        ({"outcome": "withheld", "person_id": None}, "withheld, too few good shots"),
        ({"outcome": "ambiguous", "person_id": None, "reason": "like person 4"}, "ambiguous, like person 4"),
        ({"outcome": "withheld", "person_id": None, "reason": "1 good shot"}, "withheld, 1 good shot"),
        ({"outcome": "matched", "confidence": None}, "matched"),
    ],
)
def test_every_outcome_has_a_reason_in_words(changes, words):
    """Also those without a person; a new person has no confidence, which would be a stranger's."""
    assert reason(stored_sighting(**changes)) == words
    assert words in visit_line(stored_sighting(**changes), UTC)
    assert ("nobody" in visit_line(stored_sighting(**changes), UTC)) == ("person_id" in changes)


def test_a_friend_is_marked():
    """Other persons are not."""
    assert ", friend" in visit_line(stored_sighting(friend=True), UTC)


async def test_a_visit_is_one_line_with_camera_person_and_visit():
    """Later sightings of a visit are logged only if the person changes; another visit is another line."""
    settings = Settings.model_validate(
        {"cameras": [{"id": "hall", "url": "rtsp://127.0.0.1/x", "name": "Entrance hall"}]}
    )
    events = EventBus()
    VisitLog(settings.cameras).subscribe(events)
    publish = StoredSightings(events)
    with capture_logs() as entries:
        publish(stored_sighting(person_id=None, outcome="withheld"))
        publish(stored_sighting(person_id=None, outcome="withheld"))
        publish(stored_sighting(person_name="Anna"))
        publish(stored_sighting(visit_id="w"))
        await events.close(5)
    lines = [entry for entry in entries if (entry["event"], entry["log_level"]) == ("visit", "info")]
    assert [(line["visit"], line["person"]) for line in lines] == [("v", None), ("v", 7), ("w", 7)]
    assert lines[1]["camera"] == "Entrance hall"
    assert lines[1]["name"] == "Anna"


@pytest.mark.usefixtures("restored_logging")
@pytest.mark.parametrize("log_format", ["console", "journal"])
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"person_id": 123456, "person_name": "p " * 99, "friend": True}, "matched, confidence 0.87, friend"),
        (
            {
                "person_id": None,
                "outcome": "ambiguous",
                "reason": "like person 123456 (0.69 of 0.71), obscure",
            },
            "ambiguous, like person 123456 (0.69 of 0.71), obscure",
        ),
    ],
)
def test_a_line_stays_under_160_characters_and_has_the_whole_visit_id(capsys, log_format, changes, words):
    """With long names and the longest reason; only the camera's id is left out of the visit's."""
    settings = Settings.model_validate(
        {"cameras": [{"id": "c" * 40, "url": "rtsp://127.0.0.1/x", "name": "n" * 17 + " " * 99}]}
    )
    visit_id = f"{'c' * 40}-20260301T120000.000000Z-12"
    seen = stored_sighting(cam_id="c" * 40, visit_id=visit_id, **changes)
    logs.configure(log_format)
    VisitLog(settings.cameras).log(VisitUpdated(seen))
    line = capsys.readouterr().err.rstrip()
    assert len(line) < 160, line
    assert line.endswith(" visit=20260301T120000.000000Z-12")
    assert words in line


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

"""The log line of a visit, and the line of the demo."""

from datetime import UTC
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import structlog
from structlog.testing import capture_logs

from daemon.config.settings import Settings
from daemon.events import EventBus, VisitUpdated
from daemon.events.producers import StoredSightings
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
        ({"outcome": "matched", "confidence": None}, "matched"),
    ],
)
def test_every_outcome_has_a_reason_in_words(changes, words):
    """Also those without a person; a new person has no confidence, which would be a stranger's."""
    assert reason(stored_sighting(**changes)) == words
    assert words in visit_line(stored_sighting(**changes), UTC)
    assert ("nobody" in visit_line(stored_sighting(**changes), UTC)) == ("person_id" in changes)


def test_a_friend_is_marked():
    """And nobody else is."""
    assert ", friend" in visit_line(stored_sighting(friend=True), UTC)


async def test_a_visit_is_one_line_with_camera_person_and_visit():
    """Later sightings of a visit are logged only if the person changes; another visit is another line."""
    settings = Settings.model_validate(
        {
            "cameras": [{"id": "hall", "url": "rtsp://127.0.0.1/x", "name": "Entrance hall"}],
            "persons": {"time_zone": "Asia/Tokyo"},
        }
    )
    events = EventBus()
    VisitLog(settings.cameras, settings.persons.zone).subscribe(events)
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
    assert (lines[1]["name"], lines[1]["at"]) == ("Anna", "21:00:05")


def test_a_line_stays_under_160_characters():
    """With long names, the longest reason and a whole visit id, as the journal shows it."""
    settings = Settings.model_validate(
        {"cameras": [{"id": "c" * 40, "url": "rtsp://127.0.0.1/x", "name": "n" * 200}]}
    )
    with capture_logs() as entries:
        seen = stored_sighting(
            cam_id="c" * 40,
            person_id=123456,
            person_name="p" * 200,
            outcome="ambiguous",
            friend=False,
            visit_id="f" * 32,
        )
        VisitLog(settings.cameras, settings.persons.zone).log(VisitUpdated(seen))
    entry = {**entries[0], "level": entries[0]["log_level"]}
    del entry["log_level"]
    line = structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0)(None, "", entry)
    assert len(line) < 160, line


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

import re
from datetime import UTC, datetime

import pytest
from prometheus_client import generate_latest

from cameras.observer import CameraState
from daemon.events import CameraRemoved, CameraStateChanged, SightingStored, VisitEnded
from daemon.runtime.metrics import Metrics
from tests.sightings import stored_sighting

PROMISED = [
    "facend_build_info",
    "facend_camera_state",
    "facend_camera_reconnects_total",
    "facend_frames_decoded_total",
    "facend_frames_analysed_total",
    "facend_frames_skipped_total",
    "facend_frame_age_seconds",
    "facend_stage_seconds",
    "facend_faces_detected_total",
    "facend_visits_total",
    "facend_shots_total",
    "facend_sightings_total",
    "facend_persons_total",
    "facend_friends_total",
    "facend_store_seconds",
    "facend_store_errors_total",
    "facend_uploads_bytes_total",
    "facend_job_seconds",
    "facend_job_failures_total",
    "facend_events_total",
    "facend_events_dropped_total",
]


def all_counted() -> Metrics:
    metrics = Metrics(version="0", pack="p", runtime="r")
    metrics.stage("detect", 0.01)
    metrics.faces_detected("door", 2)
    metrics.shot("door", "posted")
    metrics.event_published("visit.ended")
    metrics.event_dropped("visit log")
    metrics.count_event(VisitEnded("door", "v", datetime.now(UTC), usable=True, sighting_follows=True))
    metrics.analysed("door")
    metrics.skipped("door", "busy")
    metrics.frames_decoded("door", [0.003])
    metrics.reconnect("door", "refused")
    metrics.count_event(CameraStateChanged("door", CameraState.RED, "refused"))
    metrics.operation("faces.add", 0.002)
    metrics.error("faces.add", "unavailable")
    metrics.sighting("door", "stored")
    metrics.count_event(SightingStored(stored_sighting(cam_id="door", outcome="created", friend=True)))
    metrics.uploaded(1000)
    metrics.frame_age("door", datetime.now(UTC))
    with metrics.job("retention"):
        pass
    return metrics


@pytest.mark.parametrize("name", PROMISED)
def test_every_promised_metric_is_exposed(name):
    """Dashboards find the metric under the name of the documentation."""
    text = generate_latest(all_counted().registry).decode()
    assert re.search(rf"^{name}(_count)?(\{{| )", text, re.MULTILINE), name


def test_a_camera_is_in_one_state_at_a_time():
    """The states add up to 1, and a camera that is gone shows none."""
    metrics = all_counted()
    metrics.count_event(CameraStateChanged("door", CameraState.GREEN, ""))
    sample = metrics.registry.get_sample_value
    states = ("green", "yellow", "red", "grey")
    assert [sample("facend_camera_state", {"camera": "door", "state": s}) for s in states] == [1, 0, 0, 0]
    metrics.count_event(CameraRemoved("door"))
    assert sample("facend_camera_state", {"camera": "door", "state": "green"}) is None


def test_a_camera_counts_from_zero():
    """All series of a camera are there before anything happened, so that the first event is seen as one."""
    metrics = Metrics(version="0", pack="p", runtime="r")
    metrics.add_camera("door")
    sample = metrics.registry.get_sample_value
    for name, label, values in (
        ("facend_sightings_total", "outcome", ("stored", "retried", "dead", "dropped", "refused")),
        ("facend_persons_total", "outcome", ("matched", "created", "ambiguous", "withheld")),
        ("facend_frames_skipped_total", "reason", ("motion", "busy", "corrupt")),
        ("facend_camera_reconnects_total", "reason", ("refused", "stalled")),
        ("facend_shots_total", "outcome", ("posted", "outside_roi")),
    ):
        for value in values:
            assert sample(name, {"camera": "door", label: value}) == 0, (name, value)
    assert sample("facend_frame_age_seconds_count", {"camera": "door"}) == 0
    assert sample("facend_friends_total", {"camera": "door"}) == 0


def test_a_camera_that_comes_back_goes_on_counting():
    """What a camera counted is not lost when it is started anew with other settings."""
    metrics = all_counted()
    metrics.add_camera("door")
    assert metrics.registry.get_sample_value("facend_visits_total", {"camera": "door"}) == 1


def test_series_do_not_tell_when_they_began():
    """The client library's _created series are left out."""
    assert "_created" not in generate_latest(all_counted().registry).decode()


def test_a_level_that_cannot_be_read_leaves_the_others():
    """A disk that is gone takes its own metric away, not the whole page; an unknown level is refused."""

    def gone() -> dict[str, float]:
        raise FileNotFoundError("no such folder")

    metrics = all_counted()
    metrics.gauges.add("facend_disk_free_bytes", gone)
    metrics.gauges.add("facend_spool_bytes", lambda: {"": 7.0})
    assert metrics.registry.get_sample_value("facend_disk_free_bytes") is None
    assert metrics.registry.get_sample_value("facend_spool_bytes") == 7
    with pytest.raises(KeyError, match="facend_typo"):
        metrics.gauges.add("facend_typo", gone)


def test_two_sets_of_metrics_do_not_share_a_count():
    """Nothing lives in the library's global registry."""
    all_counted()
    fresh = Metrics(version="0", pack="p", runtime="r")
    assert fresh.registry.get_sample_value("facend_visits_total", {"camera": "door"}) is None

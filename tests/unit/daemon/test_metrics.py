import re
from datetime import UTC, datetime

import pytest
from prometheus_client import generate_latest

from daemon.metrics import Metrics

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
]


def all_counted() -> Metrics:
    metrics = Metrics(version="0", pack="p", runtime="r")
    metrics.stage("detect", 0.01)
    metrics.faces_detected("door", 2)
    metrics.shot("door", "posted")
    metrics.visit("door")
    metrics.analysed("door")
    metrics.skipped("door", "busy")
    metrics.frame_decoded("door")
    metrics.reconnect("door", "refused")
    metrics.state("door", "red", "refused")
    metrics.operation("faces.add", 0.002)
    metrics.error("faces.add", "unavailable")
    metrics.sighting("door", "stored")
    metrics.person("door", "created")
    metrics.friend("door")
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
    metrics.state("door", "green", "")
    sample = metrics.registry.get_sample_value
    states = ("green", "yellow", "red", "grey")
    assert [sample("facend_camera_state", {"camera": "door", "state": s}) for s in states] == [1, 0, 0, 0]
    metrics.forget_camera("door")
    assert sample("facend_camera_state", {"camera": "door", "state": "green"}) is None


def test_two_sets_of_metrics_do_not_share_a_count():
    """Nothing lives in the library's global registry."""
    all_counted()
    fresh = Metrics(version="0", pack="p", runtime="r")
    assert fresh.registry.get_sample_value("facend_visits_total", {"camera": "door"}) is None

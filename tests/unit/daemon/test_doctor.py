"""The checks of the doctor on a box, with and without a running daemon."""

import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cameras.clips.write import write_clip
from cameras.observer import CameraState
from cameras.settings import CameraSettings
from daemon.cli.check import check
from daemon.config import settings_file
from daemon.config.camera_documents import to_document
from daemon.config.camera_secrets import CameraSecrets
from daemon.config.settings import Settings
from daemon.doctor import check_box, check_cameras
from daemon.errors import SettingsError
from daemon.runtime import data_folder
from daemon.status import CameraReport, DaemonReport, JobReport, PluginReport, SpoolReport, StoreReport
from pipeline.base.files import write_durably
from tests.clips import moving_pictures


def settings(folder: Path, *cameras: dict[str, Any], port: int = 0) -> Settings:
    given = {"data_dir": str(folder), "detector": "box", "http": {"port": port}, "cameras": cameras}
    return Settings.model_validate(given, context={"folder": folder})


@pytest.fixture
def closed_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_every_camera_of_the_box_is_checked_while_no_daemon_runs(tmp_path: Path, closed_port: int) -> None:
    """Cameras are checked in the order of the settings, then those of the collection; each result says what
    the camera sends or why it does not. Disabled cameras and those of other boxes are skipped."""
    clip = tmp_path / "clip.mp4"
    write_clip(clip, moving_pictures(10, 160, 120), 10)
    away = f"rtsp://cam:s3cr3t@127.0.0.1:{closed_port}/main"
    in_collection = CameraSettings(id="yard", url=away)
    document = to_document(in_collection, CameraSecrets(tmp_path))
    copy = CameraSettings(id="hall", url="rtsp://127.0.0.1/overruled")
    documents = [document, to_document(copy, CameraSecrets(tmp_path))]
    write_durably(tmp_path / "cameras.json", json.dumps(documents).encode())
    checks = check_cameras(
        settings(
            tmp_path,
            {"id": "door", "url": away},
            {"id": "hall", "url": str(clip), "detector": "box"},
            {"id": "gate", "url": "rtsp://127.0.0.1/main", "user": "cam", "password": ""},
            {"id": "off", "url": away, "enabled": False},
            {"id": "other", "url": away, "detector": "another box"},
        )
    )
    told = {check.name: (check.state, check.detail) for check in checks}
    assert list(told) == ["camera door", "camera hall", "camera gate", "camera yard"]
    assert told["camera hall"] == ("good", "sends h264, 160x120")
    assert told["camera gate"] == ("good", "not checked: only the service gets its password, from systemd")
    for name in ("camera door", "camera yard"):
        assert told[name][0] == "bad"
        assert told[name][1].startswith(
            f"refused rtsp://***@127.0.0.1:{closed_port}/main: connection refused"
        )


def test_an_unusable_copy_of_the_stored_cameras_is_reported(tmp_path: Path) -> None:
    """The cameras of the collection cannot be checked, and the file is named."""
    (tmp_path / "cameras.json").write_text("[{")
    told = {check.name: check for check in check_box(settings(tmp_path), repair=False)}
    assert told["stored cameras"].state == "bad"
    assert str(tmp_path / "cameras.json") in told["stored cameras"].detail


def test_dead_sightings_are_reported(tmp_path: Path) -> None:
    """A visit that cannot be stored is a problem; pending ones are not."""
    (tmp_path / "spool" / "dead").mkdir(parents=True)
    (tmp_path / "spool" / "one.sighting").touch()
    spool = {check.name: check for check in check_box(settings(tmp_path), repair=False)}["spool"]
    assert (spool.state, spool.detail) == ("good", "1 sighting pending")
    (tmp_path / "spool" / "dead" / "two.sighting.reason").touch()
    spool = {check.name: check for check in check_box(settings(tmp_path), repair=False)}["spool"]
    assert spool.state == "bad"
    assert "1 cannot be stored" in spool.detail and str(tmp_path / "spool" / "dead") in spool.detail


def test_a_reserve_larger_than_the_disk_is_bad(tmp_path: Path) -> None:
    """Doctor and `facend check` name the setting; the rest of the report stays."""
    path = tmp_path / "settings.toml"
    path.write_text('data_dir = "data"\n[uploads]\nmin_free_bytes = 1_000_000_000_000_000_000\n')
    checks = {check.name: check for check in check_box(settings_file.load(path), repair=False)}
    assert checks["disk"].state == "bad" and "uploads.min_free_bytes" in checks["disk"].detail
    done = CliRunner().invoke(check, ["--settings", str(path)])
    assert done.exit_code and isinstance(done.exception, SettingsError)
    assert f"{path}: uploads.min_free_bytes" in str(done.exception)


STARTED = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
STORE = StoreReport(ready=True, trouble="", changes_not_seen="", malformed_documents={})
SPOOL = SpoolReport(
    sightings=0, bytes=7, max_bytes=100, dropped=0, oldest_seconds=0.0, fault=None, set_aside=0
)
CAMERA = CameraReport(
    cam_id="door",
    state=CameraState.GREEN,
    reason="",
    detail="",
    since=STARTED,
    url="rtsp://door",
    frames_decoded=9,
    reconnects=0,
    last_frame_at=STARTED,
    width=640,
    height=480,
    fps=25.0,
    codec="h264",
)
RED = replace(CAMERA, state=CameraState.RED, reason="refused", detail="nobody")
PLUGIN = PluginReport("bell", "active", "once", STARTED, failures=1, refused={}, lost=0)
REPORT = DaemonReport(
    version="1",
    started_at=STARTED,
    summary="cameras: 1 green",
    cameras=[CAMERA],
    configuration={"settings": "", "collection": ""},
    store=STORE,
    spool=SPOOL,
    disks=[],
    jobs={"doctor": JobReport()},
    plugins=[PLUGIN],
)


@pytest.mark.parametrize(
    ("trouble", "name", "detail"),
    [
        ({}, "", ""),
        ({"store": replace(STORE, trouble="MongoDB is away")}, "storing", "MongoDB is away"),
        ({"spool": replace(SPOOL, fault="a full disk")}, "storing", "a full disk"),
        ({"spool": replace(SPOOL, dropped=3)}, "spool size", "3 sightings dropped"),
        ({"configuration": {"collection": "the camera x: url"}}, "collection", "the camera x: url"),
        ({"cameras": [RED]}, "camera door", "red refused nobody"),
        ({"plugins": [replace(PLUGIN, state="failed", error="no")]}, "plugin bell", "failed: no"),
        ({"jobs": {"doctor": JobReport(last_error="it broke")}}, "job doctor", "it broke"),
    ],
)
def test_problems_of_the_running_daemon_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: dict[str, Any], name: str, detail: str
) -> None:
    """Each problem in the status is bad under its name, and nothing else is."""
    monkeypatch.setattr("daemon.http.client.status", lambda _settings: REPORT.model_copy(update=trouble))
    with data_folder.held(tmp_path):
        checks = list(check_box(settings(tmp_path), repair=False))
    bad = [check for check in checks if check.state == "bad" and check.name != "models"]
    assert [check.name for check in bad] == ([name] if name else [])
    assert all(detail in check.detail for check in bad)

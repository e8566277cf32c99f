"""SIGHUP: cameras change while the daemon runs."""

from pathlib import Path

from tests.daemon_process import busy_camera, daemon, write_settings


def test_sighup_takes_changed_cameras_and_refuses_wrong_settings(short_clip: Path, tmp_path: Path) -> None:
    """A wrong file changes nothing and is told; a right one starts and ends cameras and leaves the others
    alone, and what needs a restart is named. The machine's TZ is a legal one for which Python has no name."""
    hall = busy_camera("hall", short_clip)
    settings = write_settings(tmp_path, [hall, busy_camera("door", short_clip)])
    with daemon(settings, TZ="CET-1CEST,M3.5.0,M10.5.0/3") as process:
        process.ready()
        write_settings(tmp_path, [hall, hall])
        process.hang_up()
        refused = process.logged("the changed settings are refused and the old ones stay")
        assert "used twice: hall" in refused["problems"][0]
        assert [camera["cam_id"] for camera in process.status()["cameras"]] == ["hall", "door"]

        frames = process.camera("hall")["frames_decoded"]
        write_settings(tmp_path, [busy_camera("gate", short_clip), hall], spool={"max_bytes": 1 << 30})
        process.hang_up()
        process.logged("the settings were read again")
        assert [camera["cam_id"] for camera in process.status()["cameras"]] == ["gate", "hall"]
        assert process.log("these settings take effect after a restart")[-1]["sections"] == ["spool"]
        assert process.camera("hall")["frames_decoded"] >= frames > 0
        process.until("the new camera", lambda: process.camera("gate")["state"] == "green", 30)
        assert process.metrics().total("facend_camera_state", camera="door") == 0
        process.stores(3, 60)
        assert process.stop() == 0

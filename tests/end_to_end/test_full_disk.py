"""A disk without room, and one that cannot be written: said once, borne, and forgotten when there is room."""

import subprocess
from pathlib import Path

from tests.daemon_process import busy_camera, daemon, facend, write_settings
from tests.end_to_end.stored import (
    assert_each_stored_once,
    assert_persons_agree,
    assert_pictures_are_those_of,
    documents,
)
from tests.small_disk import fill, small_disk


def test_a_full_spool_disk_shows_and_heals(short_clip: Path, tmp_path: Path) -> None:
    """No room for the spool alone: /readyz says so, one log line, and sightings go on when there is room."""
    with small_disk(tmp_path / "data" / "spool", 4) as disk:
        settings = write_settings(tmp_path, [busy_camera("hall", short_clip)])
        with daemon(settings) as process:
            process.ready()
            process.stores(2, 60)

            # The disk is filled again and again: each sighting that is stored leaves room for the next one.
            def refused() -> str:
                fill(disk)
                status, reason = process.get("/readyz")
                return reason if status == 503 else ""

            def is_yellow() -> bool:
                fill(disk)
                camera = process.camera("hall")
                return (camera["state"], camera["reason"]) == ("yellow", "posting")

            reason = process.until("a fault", refused, 60)
            assert "No space left on device" in reason
            assert str(disk) in reason
            process.until("a yellow camera", is_yellow, 60)
            (disk / "ballast").unlink()
            process.ready()
            process.stores(3, 60)
            assert process.stop() == 0
        began, ended = (
            process.log(f"the spool {says}") for says in ("refuses sightings", "accepts sightings again")
        )
        assert len(began) == len(ended) >= 1


def test_a_full_data_disk_loses_nothing_that_was_accepted(short_clip: Path, tmp_path: Path) -> None:
    """No room for MongoDB, pictures and spool at once: the daemon bears it, and afterwards all agrees."""
    with small_disk(tmp_path / "data", 400) as disk:
        settings = write_settings(tmp_path, [busy_camera("hall", short_clip)])
        with daemon(settings) as process:
            process.ready()
            process.stores(2, 60)
            ballast = fill(disk)
            process.until("/readyz says no", lambda: process.get("/readyz")[0] == 503, 60)
            assert process.get("/healthz")[0] == 200
            ballast.unlink()
            process.ready(90)
            process.stores(3, 90)
            assert process.stop() == 0
        accepted = [entry["sighting"] for entry in process.log("sighting accepted")]
        write_settings(tmp_path, [])
        with daemon(settings, "afterwards") as process:
            process.ready()
            process.empties_its_spool(60)
            faces = documents(disk, "faces")
            assert_each_stored_once(accepted, faces)
            assert_persons_agree(faces, documents(disk, "persons"))
            assert_pictures_are_those_of(faces, disk / "uploads")
            assert process.stop() == 0


def test_a_disk_that_is_full_at_the_start_is_said_in_one_line(tmp_path: Path) -> None:
    """Status 1, because there may be room later."""
    with small_disk(tmp_path / "data", 1) as disk:
        fill(disk)
        done = facend("run", "--settings", write_settings(tmp_path, []))
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "full disk" in done.stderr or "No space left on device" in done.stderr


def test_a_read_only_data_folder_is_said_in_one_line(tmp_path: Path) -> None:
    """Status 2: the settings or the environment must be changed first."""
    with small_disk(tmp_path / "data", 1) as disk:
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        done = facend("run", "--settings", write_settings(tmp_path, []))
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "Read-only file system" in done.stderr

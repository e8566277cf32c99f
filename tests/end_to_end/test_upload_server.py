"""Pictures on an upload server, which goes away and comes back."""

from pathlib import Path

import cv2
import numpy as np

from tests.daemon_process import busy_camera, daemon, facend, free_port, write_settings
from tests.nginx import PASSWORD, USER, upload_server
from tests.store_checks import files_below


def test_sightings_wait_for_an_upload_server_that_is_away(short_clip: Path, tmp_path: Path) -> None:
    """Whoever comes by while the server is away is stored when it is back, each with three pictures that
    open; the doctor finds nothing to mend, and no password is said anywhere."""
    (tmp_path / "server").mkdir()
    with upload_server(tmp_path / "server") as server:
        uploads = {"url": server.url, "user": USER, "password": PASSWORD}
        sections = {"uploads": uploads, "http": {"port": free_port()}}  # known to the doctor
        settings = write_settings(tmp_path, [busy_camera("hall", short_clip)], **sections)
        with daemon(settings) as process:
            process.ready()
            process.stores(2, 60)
            server.stop()
            away = f"the upload server {server.url} does not answer"
            process.until("a reason", lambda: process.get("/readyz")[1].startswith(away), 30)
            assert process.get("/readyz")[0] == 503
            process.until("waiting sightings", lambda: process.status()["spool"]["sightings"] >= 3, 30)
            assert process.camera("hall")["state"] != "red"
            server.start()
            process.ready()
            process.stores(3, 60)
            write_settings(tmp_path, [], **sections)
            process.hang_up()
            process.empties_its_spool(30)
            stored = process.stored()
            checked = facend("doctor", "--settings", settings, "--grace-minutes", "0")
            assert process.stop() == 0
        pictures = sorted(path for path in files_below(server.root))
    assert "MongoDB, facen storage and uploads are consistent" in checked.stdout, (
        checked.stdout + checked.stderr
    )
    assert len(pictures) == 3 * stored
    for picture in pictures:
        assert cv2.imdecode(np.frombuffer(picture.read_bytes(), np.uint8), cv2.IMREAD_COLOR) is not None, (
            picture
        )
    assert PASSWORD not in process.text() + checked.stdout + checked.stderr
    assert not (tmp_path / "data" / "uploads").exists()

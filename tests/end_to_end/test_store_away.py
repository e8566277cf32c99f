"""A MongoDB that is not there, or does not answer: sightings wait, and are stored when it comes.

AWAY_MINUTES=60 leaves it away for an hour, in the first test, instead of a moment.
"""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pymongo
import pytest

from store.mongod.program import find_mongod
from tests.daemon_process import busy_camera, daemon, free_port, write_settings
from tests.end_to_end.stored import assert_each_stored_once, assert_pictures_are_those_of
from tests.store_checks import files_below

AWAY_MINUTES = float(os.environ.get("AWAY_MINUTES", "0"))


@contextmanager
def mongod_on(port: int, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A MongoDB of the site's own, listening on loopback."""
    folder.mkdir(exist_ok=True)
    command = [find_mongod(), "--dbpath", folder, "--port", str(port), "--bind_ip", "127.0.0.1", "--quiet"]
    with subprocess.Popen([*command, "--nounixsocket"], stdout=subprocess.DEVNULL) as server:
        try:
            yield server
        finally:
            server.kill()


@pytest.mark.timeout(300 + 90 * AWAY_MINUTES)
def test_sightings_wait_for_a_store_that_is_away_and_are_stored_when_it_comes(
    short_clip: Path, tmp_path: Path
) -> None:
    """Nobody listens; somebody accepts and says nothing; MongoDB comes, dies and comes back. Cameras run all
    the time, /readyz says what is wrong, the spool collects, and in the end every sighting is stored."""
    port = free_port()
    # An hour's sightings have to be stored afterwards: at most two a second, where a moment has ten.
    camera = {**busy_camera("hall", short_clip), "post_interval_seconds": 1.0 if AWAY_MINUTES > 1 else 0.1}
    settings = write_settings(
        tmp_path,
        [camera],
        store={
            "url": f"mongodb://127.0.0.1:{port}/",
            "connect_timeout_seconds": 1,
            "server_selection_timeout_seconds": 1,
        },
    )
    with daemon(settings) as process:
        process.running()
        process.until("a reason", lambda: f"127.0.0.1:{port}" in process.get("/readyz")[1], 30)
        assert "the connection is refused" in process.status()["store"]["trouble"]
        with socket.create_server(("127.0.0.1", port)):
            process.until("waiting sightings", lambda: process.status()["spool"]["sightings"] >= 3, 30)
            assert process.get("/readyz")[0] == 503
            assert process.get("/healthz")[0] == 200
            assert process.camera("hall")["state"] == "green"
        with mongod_on(port, tmp_path / "mongod"):
            process.ready()
            process.stores(3, 60)
        process.until("/readyz says no", lambda: process.get("/readyz")[0] == 503, 30)
        time.sleep(60 * AWAY_MINUTES)
        waited = process.status()["spool"]
        with mongod_on(port, tmp_path / "mongod"):
            began = time.monotonic()
            process.ready()
            process.stores(3, 60)
            write_settings(tmp_path, [])
            process.hang_up()
            process.logged("a camera's last visits are finished")
            process.empties_its_spool(60 + 30 * AWAY_MINUTES)
            print(f"spool {waited}, stored within {time.monotonic() - began:.0f} s")
            assert process.stop() == 0
            with pymongo.MongoClient("127.0.0.1", port) as client:
                faces = list(client["facend"]["faces"].find())
    assert not files_below(tmp_path / "data" / "spool")
    for said_once in (
        "the store cannot be opened; sightings wait in the spool",
        "sightings wait in the spool: the store does not accept them",
        "sightings are stored again",
    ):
        assert len(process.log(said_once)) == 1, said_once
    assert len(process.log("changes by other processes are not applied at present")) <= 1  # however long
    assert_each_stored_once([entry["sighting"] for entry in process.log("sighting accepted")], faces)
    assert_pictures_are_those_of(faces, tmp_path / "data" / "uploads")


def test_a_store_that_goes_away_shows_while_nobody_comes_by(tmp_path: Path) -> None:
    """No sighting has to fail first: /readyz, the metric of the alert, and one log line at begin and end."""
    port = free_port()
    settings = write_settings(tmp_path, [], store={"url": f"mongodb://127.0.0.1:{port}/"})
    with mongod_on(port, tmp_path / "mongod") as server, daemon(settings) as process:
        process.ready()
        server.send_signal(signal.SIGSTOP)
        process.until("/readyz says no", lambda: process.get("/readyz")[0] == 503, 20)
        assert "MongoDB does not answer" in process.get("/readyz")[1]
        assert process.metrics().total("facend_facen_shards", state="live") == 0
        server.send_signal(signal.SIGCONT)
        process.until("/readyz agrees", lambda: process.get("/readyz")[0] == 200, 20)
        process.until(
            "a live shard", lambda: process.metrics().total("facend_facen_shards", state="live"), 20
        )
        assert process.stop() == 0
    assert len(process.log("MongoDB is away")) == len(process.log("MongoDB is back")) == 1


def test_a_store_that_hangs_does_not_hold_up_the_end(short_clip: Path, tmp_path: Path) -> None:
    """SIGTERM while MongoDB keeps its connections and says nothing: status 0 within ten seconds."""
    port = free_port()
    settings = write_settings(
        tmp_path, [busy_camera("hall", short_clip)], store={"url": f"mongodb://127.0.0.1:{port}/"}
    )
    with mongod_on(port, tmp_path / "mongod") as server, daemon(settings) as process:
        process.ready()
        process.stores(3, 60)
        server.send_signal(signal.SIGSTOP)
        process.until("waiting sightings", lambda: process.status()["spool"]["sightings"] >= 2, 60)
        assert process.stop(10) == 0
    assert process.log("sightings wait in the spool for the next start")

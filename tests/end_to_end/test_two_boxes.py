"""Two boxes on one MongoDB in the name of one user: each camera is read by one of them."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pymongo
import pytest

from store.mongo.term_leases import LEASE_SECONDS
from tests.daemon_process import Daemon, daemon, facend, write_settings

DATABASE = f"two-boxes-{uuid4().hex[:8]}"
SOON = 40.0


@pytest.fixture
def database(mongo_url: str) -> Iterator[dict[str, str]]:
    """The store settings of both boxes; the database is dropped afterwards."""
    yield {"url": mongo_url, "database": DATABASE, "token": "one token for both boxes"}
    with pymongo.MongoClient(mongo_url) as client:
        client.drop_database(DATABASE)


def box(folder: Path, name: str, store: dict[str, str]) -> Path:
    (folder / name).mkdir()
    return write_settings(folder / name, [], detector=name, store=store)


def reads(process: Daemon) -> bool:
    return bool(process.camera("hall").get("state") == "green")


def waits_for(process: Daemon, name: str) -> bool:
    camera = process.camera("hall")
    return camera.get("reason") == "elsewhere" and name in camera["detail"]


def test_a_camera_is_read_by_one_box_at_a_time(
    tmp_path: Path, short_clip: Path, database: dict[str, str]
) -> None:
    """The other box says which one reads it, stores nothing, and takes over when that box ends or dies."""
    yard, gate = box(tmp_path, "yard", database), box(tmp_path, "gate", database)
    with daemon(yard) as first, daemon(gate) as second:
        first.ready()
        second.ready()
        options = (
            "loop=true",
            "posting=realtime",
            "post_interval_seconds=0.1",
            "min_score=-5",
            "min_face_px=20",
        )
        added = facend("cameras", "add", "hall", short_clip.as_uri(), *options, "--settings", yard)
        assert added.returncode == 0, added.stderr
        pair = {"yard": first, "gate": second}
        others = {"yard": "gate", "gate": "yard"}  # both read until they have seen who has the lease
        waiter = first.until(
            "one that waits",
            lambda: [name for name in pair if waits_for(pair[name], others[name])],
            SOON,
        )[0]
        reader = others[waiter]
        pair[waiter].empties_its_spool(SOON)
        before = pair[waiter].stored()
        pair[reader].stores(3, SOON)
        assert pair[waiter].stored() == before

        assert pair[reader].stop() == 0
        pair[waiter].until("it takes over", lambda: reads(pair[waiter]), LEASE_SECONDS / 2)
        restarted = daemon(yard if reader == "yard" else gate, "again")
        with restarted as third:
            third.ready()
            third.until("the one that comes back waits", lambda: waits_for(third, waiter), SOON)
            pair[waiter].kill()
            third.until("it takes over from a dead box", lambda: reads(third), LEASE_SECONDS + SOON)

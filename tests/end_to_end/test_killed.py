"""No accepted sighting is lost or stored twice, whichever process is killed, and when."""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.daemon_process import Daemon, busy_camera, daemon, mongods, wait_for, write_settings
from tests.end_to_end.stored import assert_nothing_is_wrong

KILLS = int(os.environ.get("KILLS", "8"))
SEED = int(os.environ.get("SEED", "2"))

LONGEST_LIFE_SECONDS = 2.5
"""From the moment when the cameras run; the store opens about one second later."""

SETTLE_SECONDS = 60.0


def accepted_by(process: Daemon) -> list[str]:
    """The ids of the sightings that this life had safe on disk."""
    return [entry["sighting"] for entry in process.log("sighting accepted")]


@pytest.mark.timeout(300 + 30 * KILLS)
def test_kills_at_random_moments_lose_nothing(short_clip: Path, tmp_path: Path) -> None:
    """Kill -9, start again, several times: every accepted sighting is one face with three whole pictures."""
    moments = random.Random(SEED)  # noqa: S311 - repeatable, no secret
    settings = write_settings(tmp_path, [busy_camera("hall", short_clip), busy_camera("door", short_clip)])
    accepted: list[str] = []
    for number in range(KILLS):
        with daemon(settings, f"life-{number}") as process:
            process.running()
            time.sleep(moments.uniform(0, LONGEST_LIFE_SECONDS))  # the random moment
            assert process.kill() == -signal.SIGKILL
        accepted += accepted_by(process)
    write_settings(tmp_path, [])
    with daemon(settings, "last-life") as process:
        process.ready()
        process.empties_its_spool(SETTLE_SECONDS)
        faces = assert_nothing_is_wrong(tmp_path, accepted)
        process.until(
            "as many facens as faces",
            lambda: process.metrics().total("facend_facens", gallery_kind="default") == len(faces),
            20,
        )
        assert process.stop() == 0
    assert len(accepted) > KILLS  # how many depends on the machine
    wait_for("the end of every mongod", lambda: not mongods(tmp_path / "data"), 10)


def test_a_killed_mongod_is_started_again_and_nothing_is_lost(short_clip: Path, tmp_path: Path) -> None:
    """Kill -9 of the private mongod under load: the daemon starts it again and stores what waited."""
    settings = write_settings(tmp_path, [busy_camera("hall", short_clip)])
    with daemon(settings) as process:
        process.ready()
        for _ in range(2):
            process.stores(3, SETTLE_SECONDS)
            (victim,) = mongods(tmp_path / "data")
            os.kill(victim, signal.SIGKILL)
        process.stores(3, SETTLE_SECONDS)
        assert process.stop() == 0
    assert process.log("the private mongod ended and is restarted")  # at most once a minute
    accepted = accepted_by(process)
    write_settings(tmp_path, [])
    with daemon(settings, "afterwards") as process:
        process.ready()
        process.empties_its_spool(SETTLE_SECONDS)
        assert_nothing_is_wrong(tmp_path, accepted)
        assert process.stop() == 0


def test_a_second_signal_ends_it_at_once_and_what_was_accepted_waits(
    short_clip: Path, tmp_path: Path
) -> None:
    """The first SIGINT waits for a mongod that hangs; the second waits for nothing, and nothing is lost."""
    settings = write_settings(tmp_path, [busy_camera("hall", short_clip)])
    with daemon(settings) as process:
        process.ready()
        process.stores(3, SETTLE_SECONDS)
        (hanging,) = mongods(tmp_path / "data")
        os.kill(hanging, signal.SIGSTOP)
        process.interrupt()
        process.logged("facend stops")
        process.interrupt()
        assert process.ended(1.5) == -signal.SIGKILL
        os.kill(hanging, signal.SIGCONT)
    accepted = accepted_by(process)
    write_settings(tmp_path, [])
    with daemon(settings, "afterwards") as process:
        process.ready()
        process.empties_its_spool(SETTLE_SECONDS)
        assert_nothing_is_wrong(tmp_path, accepted)
        assert process.stop() == 0


def test_a_store_that_hangs_does_not_hold_up_the_end(short_clip: Path, tmp_path: Path) -> None:
    """SIGTERM while mongod hangs: status 0 within ten seconds, and mongod is gone."""
    settings = write_settings(tmp_path, [busy_camera("hall", short_clip)])
    with daemon(settings) as process:
        process.ready()
        process.stores(3, SETTLE_SECONDS)
        os.kill(mongods(tmp_path / "data")[0], signal.SIGSTOP)
        process.until(
            "waiting sightings", lambda: process.status()["spool"]["sightings"] >= 2, SETTLE_SECONDS
        )
        assert process.stop(10) == 0
    assert process.log("sightings wait in the spool for the next start")
    assert mongods(tmp_path / "data") == []

"""Commands beside the running daemon: they share its MongoDB, and it sees at once what they did."""

import json
import urllib.error
import urllib.request
from pathlib import Path

import cv2
import pytest

from store.facens.snapshot import summary
from tests.daemon_process import Daemon, daemon, facend, free_port, wait_for, write_settings
from tests.faces import portrait

SOON = 5.0


def facens(process: Daemon) -> float:
    """How many the daemon's facen storage holds of enrolled people and cameras' visitors."""
    process.until("a look at the facens", lambda: "facend_facens" in process.get("/metrics")[1], SOON)
    return process.metrics().total("facend_facens", gallery_kind="person")


def asked(process: Daemon, **headers: str) -> int:
    """The status of asking for a check."""
    request = urllib.request.Request(f"{process.address}/doctor", method="POST", headers=headers)  # noqa: S310 - ours
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)  # noqa: S310 - ours
    return int(refused.value.code)


@pytest.mark.timeout(600)
def test_people_are_enrolled_looked_up_checked_and_erased_while_the_daemon_runs(tmp_path: Path) -> None:
    """The daemon knows enrolled people at once and erased ones no more, and checks its own storage."""
    people = tmp_path / "people"
    for number, name in enumerate(("Ann", "Bob")):
        (people / name).mkdir(parents=True)
        cv2.imwrite(str(people / name / "1.jpg"), portrait(number, 160))
    settings = write_settings(tmp_path, [], http={"port": free_port()})
    this = ("--settings", str(settings))
    with daemon(settings) as process:
        process.ready()
        assert set(process.status()["jobs"]) >= {"retention", "doctor", "facens"}
        done = facend("enroll", people, "--gallery", "staff", *this)
        assert done.returncode == 0, done.stderr
        assert "2 taken" in done.stdout
        wait_for("the enrolled people in the daemon's storage", lambda: facens(process) == 2, 2 * SOON)
        persons = json.loads(facend("persons", "list", "--json", *this).stdout)
        assert [one["name"] for one in persons] == ["Ann", "Bob"]
        done = facend("persons", "erase", str(persons[0]["id"]), "--yes", *this)
        assert done.returncode == 0, done.stderr
        wait_for("the erased person out of the daemon's storage", lambda: facens(process) == 1, 2 * SOON)
        next((tmp_path / "data" / "uploads").rglob("*_photo.jpeg")).unlink()
        found = facend("doctor", "--grace-minutes", "0", *this)
        assert (found.returncode, "1 × missing picture" in found.stdout) == (1, True), found.stdout
        assert facend("doctor", "--repair", "--grace-minutes", "0", *this).returncode == 0
        assert facend("doctor", "--grace-minutes", "0", *this).returncode == 0
        assert asked(process) == 401
        assert asked(process, Authorization="Token guess") == 401
        stranger = json.loads(facend("users", "add", "--json", *this).stdout)["token"]
        assert asked(process, Authorization=f"Token {stranger}") == 401
        assert process.stop() == 0
    assert (
        summary(tmp_path / "data" / "facens" / "local.facens").facens == 3
    )  # of one person, in three galleries

"""Whatever happens, in whatever order: what was accepted is stored once, and everything agrees.

`make chaos` plays a hundred faults instead of a few; FAULTS and SEED say how many, and which.
"""

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.daemon_process import Daemon, busy_camera, daemon, facend, free_port, mongods, write_settings
from tests.end_to_end.stored import assert_nothing_is_wrong
from tests.rtsp import rtsp_server
from tests.small_disk import fill, small_disk
from tests.tcp_proxy import TcpProxy, tcp_proxy

FAULTS = int(os.environ.get("FAULTS", "4"))
SEED = int(os.environ.get("SEED", "7"))

DISK_MEBIBYTES = 700
PATIENCE_SECONDS = 120.0


class Site:
    """A box with a camera behind a network, and everything that can happen to it."""

    def __init__(self, settings: Path, disk: Path, network: TcpProxy, moments: random.Random) -> None:
        self._settings = settings
        self._disk = disk
        self._network = network
        self._moments = moments
        self._lives = ExitStack()
        self._life = 0
        self.accepted: list[str] = []
        self.happened: list[str] = []
        self.process = self._born()

    def _born(self) -> Daemon:
        self._life += 1
        return self._lives.enter_context(daemon(self._settings, f"life-{self._life}")).running()

    def suffer(self) -> None:
        """The next fault, at a random moment and for a random while."""
        faults: list[Callable[[float], None]] = [
            self._the_daemon_is_killed,
            self._mongod_is_killed,
            self._mongod_hangs,
            self._the_cameras_network_is_cut,
            self._the_cameras_network_freezes,
            self._the_disk_is_full,
        ]
        fault = self._moments.choice(faults)
        self.happened.append(fault.__name__.strip("_").replace("_", " "))
        time.sleep(self._moments.uniform(0.2, 1.5))
        fault(self._moments.uniform(0.3, 2.0))

    def end(self) -> None:
        """The last life ends in good order."""
        self.accepted += [entry["sighting"] for entry in self.process.log("sighting accepted")]
        assert self.process.stop() == 0, self.happened
        self._lives.close()

    def _the_daemon_is_killed(self, seconds: float) -> None:
        self.process.kill()
        self.accepted += [entry["sighting"] for entry in self.process.log("sighting accepted")]
        self.process = self._born()
        time.sleep(seconds)

    def _mongod_is_killed(self, _seconds: float) -> None:
        for server in mongods(self._disk):
            os.kill(server, signal.SIGKILL)

    def _mongod_hangs(self, seconds: float) -> None:
        servers = mongods(self._disk)
        for server in servers:
            os.kill(server, signal.SIGSTOP)
        time.sleep(seconds)
        for server in servers:
            os.kill(server, signal.SIGCONT)

    def _the_cameras_network_is_cut(self, seconds: float) -> None:
        self._network.refuse()
        self._network.cut()
        time.sleep(seconds)
        self._network.listen()

    def _the_cameras_network_freezes(self, seconds: float) -> None:
        self._network.freeze()
        time.sleep(seconds)
        self._network.thaw()

    def _the_disk_is_full(self, seconds: float) -> None:
        ballast = fill(self._disk)
        time.sleep(seconds)
        ballast.unlink()


@pytest.mark.timeout(60 + 40 * FAULTS)
def test_no_order_of_faults_loses_a_sighting(short_clip: Path, tmp_path: Path) -> None:
    """Kills, hangs, cuts and full disks at random moments while visitors come by; in the end every accepted
    sighting is one face, pictures and documents agree, and the doctor finds nothing to mend."""
    moments = random.Random(SEED)  # noqa: S311  repeatable, no secret
    with (
        small_disk(tmp_path / "data", DISK_MEBIBYTES) as disk,
        rtsp_server({"hall": short_clip}) as server,
        tcp_proxy(server.port) as network,
    ):
        camera = {
            **busy_camera("hall", short_clip),
            "url": f"rtsp://127.0.0.1:{network.port}/hall",
            "loop": False,
        }
        http = {"port": free_port()}
        settings = write_settings(tmp_path, [camera], http=http)
        site = Site(settings, disk, network, moments)
        for _ in range(FAULTS):
            site.suffer()
        site.process.ready(PATIENCE_SECONDS)
        site.process.stores(2, PATIENCE_SECONDS)  # the box has come back by itself
        write_settings(tmp_path, [], http=http)
        site.process.hang_up()
        site.process.logged("camera's last visits are finished")
        site.process.empties_its_spool(PATIENCE_SECONDS)
        checked = facend("doctor", "--settings", settings, "--grace-minutes", "0")
        assert "MongoDB, facen storage and uploads agree" in checked.stdout, (site.happened, checked.stdout)
        accepted = [*site.accepted, *(one["sighting"] for one in site.process.log("sighting accepted"))]
        assert_nothing_is_wrong(tmp_path, accepted)
        site.end()
    assert len(accepted) > FAULTS, site.happened

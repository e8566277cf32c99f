"""Whatever happens, in whatever order: what was accepted is stored once, and everything agrees.

`make chaos` plays a hundred faults instead of a few, with a Milvus server: FAULTS and SEED say how many, and
which, FACENS where the facens are. A shard in the memory dies with the daemon; what can be lost of it
alone is its file. A Milvus server can be killed.
"""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from pathlib import Path

import pytest

from tests.daemon_process import Daemon, busy_camera, daemon, facend, free_port, mongods, write_settings
from tests.end_to_end.stored import assert_nothing_is_wrong
from tests.milvus import MilvusServer, milvus_server
from tests.rtsp import rtsp_server
from tests.small_disk import fill, small_disk
from tests.tcp_proxy import TcpProxy, tcp_proxy

FAULTS = int(os.environ.get("FAULTS", "4"))
SEED = int(os.environ.get("SEED", "8"))
FACENS = os.environ.get("FACENS", "local")

SNAPSHOT_MINUTES = 0.05

DISK_MEBIBYTES = 700
PATIENCE_SECONDS = 120.0 if FACENS == "local" else 900.0
"""Milvus makes a sighting take up to a second, and a spool full of them wait."""


def _nothing() -> None:
    return


class Site:
    """A box with a camera behind a network, and everything that can happen to it."""

    def __init__(
        self,
        settings: Path,
        disk: Path,
        network: TcpProxy,
        milvus: MilvusServer | None,
        moments: random.Random,
    ) -> None:
        self._settings = settings
        self._disk = disk
        self._network = network
        self._milvus = milvus
        self._moments = moments
        self._lives = ExitStack()
        self._life = 0
        self.accepted: list[str] = []
        self._to_come: list[Callable[[float], None]] = []
        self.happened: Counter[str] = Counter()
        self.process = self._born()

    def _born(self) -> Daemon:
        self._life += 1
        return self._lives.enter_context(daemon(self._settings, f"life-{self._life}")).running()

    def suffer(self) -> None:
        """The next fault, at a random moment and for a random while."""
        if not self._to_come:  # all of them once, in random order, before any comes again
            self._to_come = [
                self._the_daemon_is_killed,
                self._mongod_is_killed,
                self._mongod_hangs,
                self._the_cameras_network_is_cut,
                self._the_cameras_network_freezes,
                self._the_camera_is_restarted_without_a_word,
                self._the_disk_is_full,
                self._a_shard_is_killed,
            ]
            self._moments.shuffle(self._to_come)
        fault = self._to_come.pop()
        self.happened[fault.__name__.strip("_").replace("_", " ")] += 1
        time.sleep(self._moments.uniform(0.2, 1.5))
        fault(self._moments.uniform(0.3, 2.0))

    def end(self) -> None:
        """The last life ends in good order."""
        self.accepted += [entry["sighting"] for entry in self.process.log("sighting accepted")]
        assert self.process.stop() == 0, self.happened
        self._lives.close()

    def _the_daemon_is_killed(self, seconds: float, before_it_starts: Callable[[], None] = _nothing) -> None:
        self.process.kill()
        before_it_starts()
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

    def _the_camera_is_restarted_without_a_word(self, seconds: float) -> None:
        self._network.freeze()
        time.sleep(seconds)
        self._network.forget()

    def _a_shard_is_killed(self, seconds: float) -> None:
        if self._milvus is not None:
            self._milvus.kill()
            time.sleep(seconds)
            self._milvus.start()
            return
        self.process.until("a shard's file", self._shards_files, PATIENCE_SECONDS)
        self._the_daemon_is_killed(0, before_it_starts=self._one_shards_file_is_torn)

    def _shards_files(self) -> list[Path]:
        return sorted((self._disk / "facens").glob("*.facens"))

    def _one_shards_file_is_torn(self) -> None:
        torn = self._moments.choice(self._shards_files())
        os.truncate(torn, torn.stat().st_size // 2)

    def _the_disk_is_full(self, seconds: float) -> None:
        ballast = fill(self._disk)
        time.sleep(seconds)
        ballast.unlink()


@pytest.mark.timeout(2 * PATIENCE_SECONDS + 40 * FAULTS)
def test_no_order_of_faults_loses_a_sighting(short_clip: Path, tmp_path: Path) -> None:
    """Kills, hangs, cuts and full disks at random moments while visitors come by; in the end every accepted
    sighting is one face, pictures and documents agree, and the doctor finds nothing to mend."""
    moments = random.Random(SEED)  # noqa: S311  repeatable, no secret
    with (
        small_disk(tmp_path / "data", DISK_MEBIBYTES) as disk,
        rtsp_server({"hall": short_clip}) as server,
        tcp_proxy(server.port) as network,
        milvus_server() if FACENS == "milvus" else nullcontext() as milvus,
    ):
        camera = {
            **busy_camera("hall", short_clip),
            "url": f"rtsp://127.0.0.1:{network.port}/hall",
            "loop": False,
        }
        http = {"port": free_port()}
        facens = {"shards": 2, "snapshot_minutes": SNAPSHOT_MINUTES, "url": milvus.url if milvus else ""}
        settings = write_settings(tmp_path, [camera], http=http, facens=facens)
        site = Site(settings, disk, network, milvus, moments)
        for _ in range(FAULTS):
            site.suffer()
        site.process.ready(PATIENCE_SECONDS)
        site.process.stores(2, PATIENCE_SECONDS)  # the box has come back by itself
        write_settings(tmp_path, [], http=http, facens=facens)
        site.process.hang_up()
        site.process.logged("a camera's last visits are finished")
        site.process.empties_its_spool(PATIENCE_SECONDS)
        checked = facend("doctor", "--settings", settings, "--grace-minutes", "0")
        assert "uploads are consistent" in checked.stdout, (site.happened, checked.stdout)
        accepted = [*site.accepted, *(one["sighting"] for one in site.process.log("sighting accepted"))]
        assert_nothing_is_wrong(tmp_path, accepted)
        site.end()
    assert len(accepted) > FAULTS, site.happened
    print(f"\n{len(accepted)} sightings, each stored once, through {FAULTS} faults:")
    for what, times in sorted(site.happened.items()):
        print(f"{times:>5}  {what}")

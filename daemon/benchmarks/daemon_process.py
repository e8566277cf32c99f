"""The daemon as a subprocess of a benchmark: start, measurement and end."""

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from daemon.errors import StartError

START_SECONDS = 120.0
ANSWER_SECONDS = 30.0
STOP_SECONDS = 20.0
TICKS = os.sysconf("SC_CLK_TCK")
MEBIBYTE = 2**20

Samples = Mapping[tuple[str, str], float]
"""Metrics summed over the cameras, by name and their other label ("" if there is none)."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored face."""

    stored_at: float
    """Unix time, as captured_at."""
    cam_id: str
    captured_at: float
    media_time: float
    person_id: int | None


@dataclass(frozen=True, slots=True)
class DaemonSample:
    """Measurements of the daemon at one moment. CPU times and counters are totals since its start."""

    at: float
    cpu_seconds: Mapping[str, float]
    """By purpose of the threads."""
    mongod_cpu_seconds: float
    memory_mib: float
    mongod_memory_mib: float
    samples: Samples

    @property
    def cpu(self) -> float:
        return sum(self.cpu_seconds.values())


class CameraDaemon:
    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._stored: list[Stored] = []
        self._answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self._address = ""
        threading.Thread(target=self._read, name="the daemon's lines", daemon=True).start()

    def wait_until_ready(self) -> None:
        self._address = str(self._answer(START_SECONDS)["address"])

    def sample(self) -> DaemonSample:
        """Take a measurement."""
        stdin = self._process.stdin
        if stdin is None:
            raise StartError("the daemon has no stdin")
        stdin.write("\n")
        stdin.flush()
        answer = self._answer(ANSWER_SECONDS)
        mongod = _children(self._process.pid)
        return DaemonSample(
            at=answer["at"],
            cpu_seconds=answer["cpu_seconds"],
            mongod_cpu_seconds=sum(cpu_seconds(Path(f"/proc/{pid}")) for pid in mongod),
            memory_mib=_memory_mib(self._process.pid),
            mongod_memory_mib=sum(map(_memory_mib, mongod)),
            samples=_samples(httpx.get(f"{self._address}/metrics", timeout=ANSWER_SECONDS).text),
        )

    def began(self) -> dict[str, float]:
        """Unix time of each camera's first frame."""
        status = httpx.get(f"{self._address}/status", timeout=ANSWER_SECONDS).json()
        return {
            camera["cam_id"]: datetime.fromisoformat(camera["since"]).timestamp()
            for camera in status["cameras"]
            if camera["state"] == "green"
        }

    def stored(self) -> list[Stored]:
        return list(self._stored)

    def _answer(self, seconds: float) -> dict[str, Any]:
        try:
            answer = self._answers.get(timeout=seconds)
        except queue.Empty:
            raise StartError(f"the daemon did not answer within {seconds:.0f} s") from None
        if not answer:
            raise StartError("the daemon ended; see its log lines above")
        return answer

    def _read(self) -> None:
        for line in self._process.stdout or ():
            values = json.loads(line)
            if "stored_at" in values:
                self._stored.append(Stored(**values))
            else:
                self._answers.put(values)
        self._answers.put({})


@contextmanager
def running(settings: Mapping[str, Any], folder: Path) -> Iterator[CameraDaemon]:
    """Run the daemon on these settings (in the shape of settings.toml), with its data in an empty folder."""
    file = folder / "settings.json"
    file.write_text(json.dumps({**settings, "data_dir": str(folder / "data"), "http": {"port": 0}}))
    process = subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-m", "daemon.benchmarks.daemon_main", str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        daemon = CameraDaemon(process)
        daemon.wait_until_ready()
        yield daemon
    finally:
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _samples(text: str) -> Samples:
    sums: dict[tuple[str, str], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            label = next((value for name, value in sample.labels.items() if name != "camera"), "")
            if sample.name.startswith("facend_stage"):
                label = sample.labels.get("stage", "")
            key = sample.name, label
            sums[key] = sums.get(key, 0.0) + sample.value
    return sums


def _children(pid: int) -> Sequence[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has just ended
            continue
        if parent == pid:
            found.append(int(stat.parent.name))
    return found


def cpu_seconds(folder: Path) -> float:
    """User and system time of a process or thread, by its folder in /proc. Raises OSError if it has ended."""
    fields = (folder / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _memory_mib(pid: int) -> float:
    """Resident memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MEBIBYTE

"""The daemon as a separate process: its settings, `facend run`, and its state over HTTP."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from prometheus_client.parser import text_string_to_metric_families

from tests.faces import default_models, models_dir

FACEND = Path(sys.executable).with_name("facend")

START_SECONDS = 60.0
"""Generous, because the machine may be busy."""

Answer = TypeVar("Answer")


def wait_for(what: str, look: Callable[[], Answer], seconds: float, pause: float = 0.05) -> Answer:
    """The first true result of `look`; fails with `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (answer := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(pause)
    return answer


def free_port() -> int:
    """A port that is free at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_settings(folder: Path, cameras: list[dict[str, Any]], **given: Any) -> Path:
    """Writes settings.toml into the folder, with the data folder beside it. `given`: keys, and sections as
    dictionaries.

    By default the port is a free one, the models are those of all tests, and logs are JSON with all levels.
    """
    default_models()  # fetches missing model files
    settings = {
        "data_dir": str(folder / "data"),
        "log_format": "json",
        "log_level": "debug",
        "http": {"port": 0},
        "models": {"folder": str(models_dir())},
        **given,
    }
    plain = {key: value for key, value in settings.items() if not isinstance(value, dict)}
    sections = {key: value for key, value in settings.items() if isinstance(value, dict)}
    parts = [_lines(plain)]
    parts += [f"[{name}]\n{_lines(section)}" for name, section in sections.items()]
    parts += [f"[[cameras]]\n{_lines(camera)}" for camera in cameras]
    path = folder / "settings.toml"
    path.write_text("\n".join(parts))
    return path


def busy_camera(cam_id: str, clip: Path) -> dict[str, Any]:
    """Settings of a camera that posts several times a second while a face is in view."""
    return {
        "id": cam_id,
        "url": clip.as_uri(),
        "loop": True,
        "posting": "realtime",
        "post_interval_seconds": 0.1,
        "min_score": -5,
        "min_face_px": 20,
    }


def _lines(table: Mapping[str, Any]) -> str:
    """A TOML table; texts, numbers, booleans and lists of them are written as in JSON."""
    return "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in table.items())


def facend(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end."""
    return subprocess.run(
        [FACEND, *arguments],
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        env={**os.environ, **environment},
        check=False,
    )


class Samples:
    """The samples of /metrics at one moment."""

    def __init__(self, text: str) -> None:
        families = text_string_to_metric_families(text)
        self._samples = [sample for family in families for sample in family.samples]

    def total(self, name: str, **labels: str) -> float:
        """A metric's value; where labels are left out, the sum over them."""
        return sum(
            sample.value
            for sample in self._samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


class Daemon:
    """A running `facend run`, which logs to a file."""

    def __init__(self, settings: Path, log: Path, environment: Mapping[str, str]) -> None:
        self.log_file = log
        with log.open("w") as stderr:
            self._process = subprocess.Popen(
                [FACEND, "run", "--settings", settings],
                stderr=stderr,
                stdout=subprocess.DEVNULL,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **environment},
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def text(self) -> str:
        return self.log_file.read_text(errors="replace")

    def log(self, event: str | None = None) -> list[dict[str, Any]]:
        """The log lines so far, or those of one event; a line that is being written is left out."""
        whole, _, _ = self.text().rpartition("\n")
        entries = [json.loads(line) for line in whole.splitlines() if line.startswith("{")]
        return [entry for entry in entries if event is None or entry["event"] == event]

    def logged(self, event: str, seconds: float = START_SECONDS, count: int = 1) -> dict[str, Any]:
        """Waits for the log line number `count` of this event, and returns it."""
        return self.until(f"log line {event!r}", lambda: self.log(event)[count - 1 : count], seconds)[0]

    def until(self, what: str, look: Callable[[], Answer], seconds: float) -> Answer:
        """As `wait_for`, but fails at once if the daemon ends, and then shows the end of its log."""

        def look_alive() -> Answer:
            answer = look()
            if not answer and not self.alive:
                raise AssertionError(f"the daemon ended with status {self._process.returncode}")
            return answer

        try:
            return wait_for(what, look_alive, seconds)
        except AssertionError as error:
            end = "\n".join(self.text().splitlines()[-25:])
            raise AssertionError(f"{error}; its log ends with\n{end}") from None

    def running(self, seconds: float = START_SECONDS) -> "Daemon":
        """Waits until the cameras run; the store may still be opening."""
        self.address = self.logged("facend runs", seconds)["address"]
        return self

    def ready(self, seconds: float = START_SECONDS) -> "Daemon":
        """Waits until /readyz answers 200."""
        self.running(seconds)
        self.until("/readyz", lambda: self.get("/readyz")[0] == 200, seconds)
        return self

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of an HTTP answer."""
        try:
            with urllib.request.urlopen(self.address + path, timeout=10) as answer:  # noqa: S310 - our own http
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def status(self) -> dict[str, Any]:
        return json.loads(self.get("/status")[1])

    def camera(self, cam_id: str) -> dict[str, Any]:
        """The camera in /status; empty if there is none of that id."""
        return next((one for one in self.status()["cameras"] if one["cam_id"] == cam_id), {})

    def metrics(self) -> "Samples":
        return Samples(self.get("/metrics")[1])

    def stored(self) -> int:
        """Sightings that this process has stored."""
        return int(self.metrics().total("facend_sightings_total", outcome="stored"))

    def stores(self, more: int, seconds: float) -> None:
        """Wait until `more` more sightings have been stored."""
        wanted = self.stored() + more
        self.until(f"{more} more stored sightings", lambda: self.stored() >= wanted, seconds)

    def empties_its_spool(self, seconds: float) -> None:
        """Wait until the spool is empty."""
        self.until("an empty spool", lambda: not self.status()["spool"]["sightings"], seconds)

    def hang_up(self) -> None:
        self._process.send_signal(signal.SIGHUP)

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)

    def stop(self, seconds: float = 10.0) -> int:
        """Sends SIGTERM and returns the exit status. Fails if the end takes longer."""
        self._process.terminate()
        return self.ended(seconds)

    def kill(self) -> int:
        """Sends SIGKILL, so that nothing is cleaned up."""
        self._process.kill()
        return self._process.wait()

    def ended(self, seconds: float) -> int:
        """Waits for the end and returns the exit status."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            end = "\n".join(self.text().splitlines()[-25:])
            self.kill()
            raise AssertionError(f"it runs on after {seconds:g} s; its log ends with\n{end}") from None


@contextmanager
def daemon(settings: Path, name: str = "daemon", **environment: str) -> Iterator[Daemon]:
    """A daemon with these settings, killed at the end of the block if it still runs."""
    process = Daemon(settings, settings.with_name(f"{name}.log"), environment)
    try:
        yield process
    finally:
        process.kill()


def mongods(data_dir: Path) -> list[int]:
    """The process ids of the private MongoDB servers of this data folder."""
    found = []
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = command.read_bytes().split(b"\0")
        except OSError:  # it ended while we looked
            continue
        if words[0].endswith(b"mongod") and os.fsencode(data_dir / "mongod" / "db") in words:
            found.append(int(command.parent.name))
    return found

"""A real RTSP server with cameras for tests: the system's gst-rtsp-server, in a separate process."""

import os
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

PYTHON = "/usr/bin/python3"
SCRIPT = Path(__file__).with_name("rtsp_server.py")
PACKAGES = (
    "python3-gi gir1.2-gst-rtsp-server-1.0 gir1.2-gst-plugins-base-1.0 gstreamer1.0-plugins-base "
    "gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-rtsp libnss-wrapper"
)
INSTALL = f"apt-get install -y --no-install-recommends {PACKAGES}"
_HAVE_ALL = """
import gi
gi.require_version("Gst", "1.0"); gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gst, GstRtspServer
Gst.init(None)
wanted = ("qtdemux", "h264parse", "rtph264pay", "h265parse", "rtph265pay", "appsink", "alawenc", "rtppcmapay")
missing = [name for name in wanted if Gst.ElementFactory.find(name) is None]
raise SystemExit(f"GStreamer has no {', '.join(missing)}" if missing else 0)
"""


def require_rtsp_server() -> None:
    """Skip the test if the server's packages are missing; with CI=true fail it."""
    try:
        found = subprocess.run(
            [PYTHON, "-c", _HAVE_ALL], capture_output=True, text=True, timeout=60, check=False
        )
        problem = found.stderr.strip().splitlines()[-1:] if found.returncode else []
    except OSError as error:
        problem = [str(error)]
    if not problem:
        return
    _missing(f"NO RTSP SERVER ({problem[0]}): these tests need Debian's packages: {INSTALL}")


def nss_wrapper() -> Path:
    """The library that gives a process its own host names; skips the test if it is missing."""
    found = next(Path("/usr/lib").glob("*/libnss_wrapper.so"), None)
    return found or _missing(f"NO NSS WRAPPER: this test needs Debian's packages: {INSTALL}")


def _missing(message: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


class RtspServer:
    """A running server. It can be frozen, killed, and restarted on the same port."""

    def __init__(
        self,
        clips: Mapping[str, Path],
        user: str,
        password: str,
        auth: str,
        spare: Mapping[str, Path] | None = None,
    ) -> None:
        self._clips = clips
        self._spare = spare or {}
        self._login = ["--user", user, "--password", password, "--auth", auth] if user else []
        self._process: subprocess.Popen[str] | None = None
        self._commanding = threading.Lock()
        self.port = 0
        self.start()

    def url(self, camera: str, login: str = "") -> str:
        """The camera's URL; login is `user:password`, percent-encoded."""
        return f"rtsp://{login}{'@' if login else ''}127.0.0.1:{self.port}/{camera}"

    def start(self) -> None:
        """Starts the server; a restart uses the same port."""
        cameras = [part for name, clip in self._clips.items() for part in ("--camera", f"{name}={clip}")]
        cameras += [part for name, clip in self._spare.items() for part in ("--clip", f"{name}={clip}")]
        self._process = subprocess.Popen(
            [PYTHON, str(SCRIPT), *cameras, "--port", str(self.port), *self._login],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.port = int(self._answer())

    def freeze(self) -> None:
        """Connections stay open, but nothing is sent."""
        self.command("freeze")

    def thaw(self) -> None:
        self.command("thaw")

    def kill(self) -> None:
        """SIGKILL, as when the camera loses power."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def command(self, *words: str) -> None:
        """Sends one of the commands of `tests/rtsp_server.py`."""
        assert self._process is not None and self._process.stdin is not None
        with self._commanding:
            self._process.stdin.write(f"{' '.join(words)}\n")
            self._process.stdin.flush()
            assert self._answer() == words[0]

    def _answer(self) -> str:
        assert self._process is not None and self._process.stdout is not None
        answer = self._process.stdout.readline().strip()
        if not answer:
            raise RuntimeError(f"the RTSP server ended with status {self._process.wait(10)}")
        return answer


@contextmanager
def rtsp_server(
    clips: Mapping[str, Path],
    user: str = "",
    password: str = "",
    auth: str = "digest",
    spare: Mapping[str, Path] | None = None,
) -> Iterator[RtspServer]:
    """Serves the clips (H.264 or H.265 in mp4), looped, as rtsp://127.0.0.1:port/name; /audio has only sound.

    auth: digest or basic, if there is a user. spare: further clips, for the commands. Skips the test if the
    server's packages are missing.
    """
    require_rtsp_server()
    server = RtspServer(clips, user, password, auth, spare)
    try:
        yield server
    finally:
        server.kill()

"""A virtual ONVIF camera (ipycam) in a separate process."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.daemon_process import free_port

_PROGRAM = """
import sys, threading
from ipycam import CameraConfig, IPCamera
port, user, password, serial = int(sys.argv[1]), *sys.argv[2:5]
config = CameraConfig(local_ip="127.0.0.1", onvif_port=port, rtsp_port=int(sys.argv[5]), username=user,
    password=password, serial_number=serial)
config.go2rtc_api_port = 1
IPCamera(config).start()
print("ready", flush=True)
threading.Event().wait()
"""


@contextmanager
def virtual_camera(
    folder: Path, user: str = "", password: str = "", serial: str = "PY-004711"
) -> Iterator[int]:
    """The port of its ONVIF service on 127.0.0.1, which also answers WS-Discovery."""
    port = free_port()
    words = [sys.executable, "-c", _PROGRAM, str(port), user, password, serial, str(free_port())]
    with (folder / "camera.log").open("w") as log:
        process = subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line == "ready\n", (line, (folder / "camera.log").read_text()[-2000:])
        time.sleep(0.2)  # the discovery thread joins its group
        yield port
    finally:
        process.kill()
        process.wait()

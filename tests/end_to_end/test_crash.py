"""A fault inside the decoder, as a signal in a camera's thread, ends the process and one camera's work."""

import ctypes
import platform
import signal
from pathlib import Path

from tests.daemon_process import Daemon, busy_camera, daemon, write_settings
from tests.end_to_end.stored import assert_each_stored_once, documents

TGKILL = {"x86_64": 234, "aarch64": 131}[platform.machine()]
"""syscalls(2); Python can signal the threads of its own process alone."""


def crash_in_thread_of(process: Daemon, cam_id: str) -> None:
    begun = [line for line in process.log("camera's thread begins") if line["camera"] == cam_id]
    assert ctypes.CDLL(None).syscall(TGKILL, process.pid, begun[-1]["thread"], signal.SIGSEGV) == 0
    assert process.ended(10) == -signal.SIGSEGV


def test_a_camera_that_crashes_the_process_twice_is_left_out(short_clip: Path, tmp_path: Path) -> None:
    """Each crash is told of by the next run, with the camera. After the second one the camera is red and the
    others run on. What was accepted before the crashes is stored, once."""
    cameras = [busy_camera("hall", short_clip), busy_camera("door", short_clip)]
    settings = write_settings(tmp_path, cameras)
    accepted: list[str] = []
    for life in (1, 2):
        with daemon(settings, f"life-{life}") as process:
            process.ready()
            process.until("frames", lambda: process.camera("door").get("frames_decoded"), 30)
            process.stores(2, 60)
            crash_in_thread_of(process, "door")
        accepted += [line["sighting"] for line in process.log("sighting accepted")]
    with daemon(settings, "life-3") as process:
        process.ready()
        told = process.logged("the last run crashed")
        assert told["camera"] == "door" and "Segmentation fault" in told["where"]
        process.until("hall", lambda: process.camera("hall")["state"] == "green", 30)
        door = process.camera("door")
        assert (door["state"], door["reason"], door["frames_decoded"]) == ("red", "crashed", 0)
        process.stores(1, 60)
        write_settings(tmp_path, [{**busy_camera("door", short_clip), "max_fps": 9}])
        process.hang_up()
        process.until("a new chance", lambda: process.camera("door").get("state") == "green", 30)
        write_settings(tmp_path, [])
        process.hang_up()
        process.until("no camera", lambda: process.status()["cameras"] == [], 30)
        process.empties_its_spool(60)
        accepted += [line["sighting"] for line in process.log("sighting accepted")]
        assert_each_stored_once(accepted, documents(tmp_path / "data", "faces"))
        assert process.stop() == 0

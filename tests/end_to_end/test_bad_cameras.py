"""Cameras that cannot work: each is red and says why, and the others go on."""

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from tests.daemon_process import Daemon, busy_camera, daemon, facend, free_port, write_settings

EXPECTED = {
    "sound": ("red", "no_video"),
    "noise": ("red", "corrupt"),
    "truncated": ("red", "corrupt"),
    "empty": ("red", "corrupt"),
    "missing": ("red", "not_found"),
    "nobody-there": ("red", "refused"),
    "no-such-host": ("red", "dns"),
    "switched-off": ("grey", "disabled"),
    "one-pixel": ("green", ""),
    "huge": ("green", ""),
}


def write_sound(path: Path) -> None:
    """A film of silence alone."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 16000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.fixture
def cameras(short_clip: Path, tmp_path: Path) -> list[dict[str, object]]:
    """A good camera among one of every bad kind."""
    whole = short_clip.read_bytes()
    write_sound(tmp_path / "sound.mp4")
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(1).bytes(100_000))
    (tmp_path / "truncated.mp4").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.mp4").touch()
    cv2.imwrite(str(tmp_path / "one-pixel.png"), np.full((1, 1, 3), 200, np.uint8))
    cv2.imwrite(str(tmp_path / "huge.png"), np.full((6000, 8000, 3), 120, np.uint8))
    urls = {
        "noise": (tmp_path / "noise.mp4").as_uri(),
        "sound": (tmp_path / "sound.mp4").as_uri(),
        "truncated": (tmp_path / "truncated.mp4").as_uri(),
        "empty": (tmp_path / "empty.mp4").as_uri(),
        "missing": (tmp_path / "missing.mp4").as_uri(),
        "nobody-there": f"rtsp://viewer:s3cret@127.0.0.1:{free_port()}/main",
        "no-such-host": "rtsp://viewer:s3cret@camera.invalid/main",
        "one-pixel": (tmp_path / "one-pixel.png").as_uri(),
        "huge": (tmp_path / "huge.png").as_uri(),
    }
    return [
        busy_camera("good", short_clip),
        *(
            {"id": cam_id, "url": url, "loop": cam_id in ("one-pixel", "huge")}
            for cam_id, url in urls.items()
        ),
        {"id": "switched-off", "url": short_clip.as_uri(), "enabled": False},
    ]


def condition(process: Daemon, cam_id: str) -> tuple[str, str]:
    camera = process.camera(cam_id)
    return camera["state"], camera["reason"]


def test_a_bad_camera_says_why_and_the_good_one_goes_on(
    cameras: list[dict[str, object]], tmp_path: Path
) -> None:
    """Ten kinds of camera that give nothing, or nothing to see: a state and a reason each, one log line,
    no password anywhere; the good camera's visitors are stored, and the daemon ends in good order."""
    settings = write_settings(tmp_path, cameras, http={"port": free_port()})
    with daemon(settings) as process:
        process.ready()
        for cam_id, expected in EXPECTED.items():
            process.until(
                f"{cam_id} is {expected}, not {condition(process, cam_id)}",
                lambda cam_id=cam_id, expected=expected: condition(process, cam_id) == expected,
                30,
            )
        process.stores(3, 30)
        assert condition(process, "good") == ("green", "")
        assert process.get("/readyz") == (200, "ok\n")
        shown = facend("cameras", "--settings", settings)
        assert process.stop() == 0
    assert shown.returncode == 0
    rows = {line.split()[0]: line for line in shown.stdout.splitlines()}
    for cam_id, (state, reason) in EXPECTED.items():
        assert rows[cam_id].split()[1:2] == [state]
        assert reason in rows[cam_id]
        assert rows[cam_id].count("://") < 2, "the URL stands there twice"
    red = {cam_id for cam_id, (state, _) in EXPECTED.items() if state == "red"}
    warned = [entry["camera"] for entry in process.log("camera gives no frames")]
    assert sorted(warned) == sorted(red)
    assert "s3cret" not in process.text() + shown.stdout + shown.stderr

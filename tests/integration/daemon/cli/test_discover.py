"""`facend cameras discover` against an independent virtual ONVIF camera."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cameras.errors import Reason, SourceError
from cameras.source.discovery import find_devices
from cameras.source.onvif import OnvifCamera, find_services, query, query_all
from tests.daemon_process import FACEND, write_settings
from tests.virtual_onvif_camera import virtual_camera

PASSWORD = "p@ss:w/rd#7"  # noqa: S105  of a camera that lives for these tests


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with virtual_camera(tmp_path_factory.mktemp("camera"), "admin", PASSWORD) as port:
        yield port


def test_a_camera_answers_the_search(camera: int) -> None:
    """With the address of its service; a search on an interface without cameras finds none."""
    assert (f"http://127.0.0.1:{camera}/onvif/device_service",) in find_devices(["127.0.0.1"])
    with pytest.raises(OSError, match="no network interface"):
        find_devices(["203.0.113.9"])


async def test_a_camera_says_what_it_is_and_what_it_streams(camera: int) -> None:
    """Device, profiles, stream URLs, a recommendation, and its clock."""
    (service,) = await find_services(f"127.0.0.1:{camera}")
    found = await query(service, "admin", PASSWORD)
    assert (found.manufacturer, found.model, found.serial) == ("PythonCam", "VirtualCam-1", "PY-004711")
    assert [(one.codec, one.width, one.height, one.fps) for one in found.profiles] == [
        ("H264", 1920, 1080, 30.0),
        ("H264", 640, 360, 30.0),
    ]
    assert found.recommended is found.profiles[0]
    assert found.profiles[0].url.startswith("rtsp://127.0.0.1:")
    assert found.clock_ahead_seconds is not None
    assert abs(found.clock_ahead_seconds) < 10


@pytest.mark.parametrize(
    ("login", "message"),
    [(("", ""), "a login is required: use --user"), (("admin", "wrong"), "wrong user or password")],
)
async def test_a_wrong_login_is_told_from_none(camera: int, login: tuple[str, str], message: str) -> None:
    """The password is in neither error."""
    with pytest.raises(SourceError, match=message) as refused:
        await query(f"http://127.0.0.1:{camera}/onvif/device_service", *login)
    assert refused.value.reason is Reason.UNAUTHORIZED


async def test_a_refused_login_is_not_tried_at_another_service(camera: int) -> None:
    """Cameras lock users; after another error the next service of the same device is asked."""
    service = f"http://127.0.0.1:{camera}/onvif/device_service"
    (answer,) = await query_all([[service, service]], "admin", "wrong")
    assert str(answer) == f"{service}: wrong user or password"
    (answer,) = await query_all([["http://127.0.0.1:1/onvif/device_service", service]], "admin", PASSWORD)
    assert isinstance(answer, OnvifCamera)


async def test_a_host_without_onvif_is_one_error() -> None:
    """No open port, an invalid name, and a server that speaks something else."""
    with pytest.raises(SourceError, match="no ONVIF port is open"):
        await find_services("127.0.0.1:1")
    with pytest.raises(SourceError, match="host"):
        await find_services("a b")
    with pytest.raises(SourceError, match="no ONVIF service answers"):
        await query("http://127.0.0.1:1/onvif/device_service")


def test_the_entry_is_written_and_found_again_by_its_serial_number(camera: int, tmp_path: Path) -> None:
    """With the password in secrets/, and the new address after the camera has moved."""
    settings = write_settings(tmp_path, [])

    def facend(*words: str, status: int = 0) -> str:
        done = subprocess.run(
            [FACEND, "cameras", *words, "--settings", settings],
            input=f"{PASSWORD}\n",
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == status, done.stderr
        assert PASSWORD not in done.stdout + done.stderr
        return done.stdout + done.stderr

    where = ("--address", f"127.0.0.1:{camera}", "--user", "admin", "--password-stdin")
    shown = facend("discover", *where)
    assert "PythonCam VirtualCam-1, serial number PY-004711" in shown
    assert "clock      correct" in shown
    assert "H264 1920x1080, 30 frames/s  <- recommended" in shown
    assert 'serial = "PY-004711"' in shown
    assert "added as virtualcam-1-004711: rtsp://***@127.0.0.1:" in facend("discover", *where, "--write")
    (listed,) = json.loads(facend("list", "--json"))
    assert (listed["serial"], listed["user"]) == ("PY-004711", "admin")
    assert (tmp_path / "data" / "secrets" / listed["id"]).read_text() == f"{PASSWORD}\n"
    facend("edit", listed["id"], "url=rtsp://192.0.2.77:554/live", "max_fps=5")
    moved = facend("discover", *where)
    assert "known as   virtualcam-1-004711 (collection); it moved from 192.0.2.77; --write updates" in moved
    report = json.loads(facend("discover", *where, "--write", "--json"))[0]
    assert report["known_as"] == "virtualcam-1-004711"
    (listed,) = json.loads(facend("list", "--json"))
    assert (listed["url"], listed["max_fps"]) == ("rtsp://127.0.0.1:554/live", 5.0)
    assert (tmp_path / "data" / "secrets" / listed["id"]).read_text() == f"{PASSWORD}\n"
    assert "no ONVIF port is open" in facend("discover", "--address", "127.0.0.1:1", status=1)

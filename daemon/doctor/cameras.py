"""A first look at the cameras while no daemon reads them: does each of them answer, and with what?"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from cameras.errors import SourceError
from cameras.settings import CameraSettings
from cameras.source.ffmpeg import FFmpegSource
from daemon.config.camera_documents import ReadCameras
from daemon.config.collection_cameras import copied
from daemon.config.settings import Settings
from daemon.config.wanted_cameras import WantedCameras
from daemon.doctor.finding import Check
from daemon.errors import SettingsError

PATIENCE_SECONDS = 5.0
AT_ONCE = 16


def look(settings: Settings) -> Iterator[Check]:
    """Opens every camera that this box is to read, several at once, in the order of the settings."""
    stored = ReadCameras()
    try:
        stored = copied(settings.data_dir)
    except SettingsError as error:
        yield Check("stored cameras", "bad", f"the last run's copy is of no use: {error}")
    for cam_id, problem in stored.refused.items():
        yield Check(f"camera {cam_id}", "bad", problem)
    together = WantedCameras(settings.box).together(settings.cameras, stored.cameras)
    cameras = [camera for camera in together if camera.enabled]
    if not cameras:
        yield Check("cameras", "good", "this box has none to read")
        return
    with ThreadPoolExecutor(min(AT_ONCE, len(cameras))) as pool:
        yield from pool.map(_answer, cameras)


def _answer(camera: CameraSettings) -> Check:
    name = f"camera {camera.id}"
    if camera.password is not None and not camera.password.get_secret_value():
        return Check(name, "good", "not asked: systemd hands its password to the service alone")
    patience = {
        key: min(getattr(camera, key), PATIENCE_SECONDS)
        for key in ("connect_timeout_seconds", "read_timeout_seconds")
    }
    try:
        with closing(FFmpegSource(camera.model_copy(update=patience))) as source:
            info = source.info
    except SourceError as error:
        return Check(name, "bad", f"{error.reason} {error}")
    return Check(name, "good", f"answers with {info.codec}, {info.width}x{info.height}")

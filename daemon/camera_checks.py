"""A first look at the cameras while no daemon reads them: does each of them answer, and with what?"""

import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress

from cameras import roster
from cameras.errors import SourceError
from cameras.settings import CameraSettings
from cameras.source import Source
from daemon.camera_documents import cameras_of
from daemon.camera_secrets import CameraSecrets
from daemon.check import Check
from daemon.collection_cameras import COPY
from daemon.errors import SettingsError
from daemon.settings import Settings

PATIENCE_SECONDS = 5.0
AT_ONCE = 16


def look(settings: Settings) -> Iterator[Check]:
    """Opens every camera that this box is to read, several at once, in the order of the settings."""
    cameras = [camera for camera in _wanted(settings) if camera.enabled]
    if not cameras:
        yield Check("cameras", "good", "this box has none to read")
        return
    with ThreadPoolExecutor(min(AT_ONCE, len(cameras))) as pool:
        yield from pool.map(_answer, cameras)


def _wanted(settings: Settings) -> Iterable[CameraSettings]:
    """Those of settings.toml, and those that the last run knew of the collection."""
    in_collection: tuple[CameraSettings, ...] = ()
    with suppress(OSError, ValueError, SettingsError):
        text = (settings.data_dir / COPY).read_text(encoding="utf-8")
        in_collection = cameras_of(json.loads(text), CameraSecrets(settings.data_dir))
    ids = {camera.id for camera in settings.cameras}
    more = tuple(camera for camera in in_collection if camera.id not in ids)
    return roster.for_box((*settings.cameras, *more), settings.box)


def _answer(camera: CameraSettings) -> Check:
    name = f"camera {camera.id}"
    if camera.password is not None and not camera.password.get_secret_value():
        return Check(name, "good", "not asked: systemd hands its password to the service alone")
    patience = {
        key: min(getattr(camera, key), PATIENCE_SECONDS)
        for key in ("connect_timeout_seconds", "read_timeout_seconds")
    }
    try:
        with closing(Source(camera.model_copy(update=patience))) as source:
            info = source.info
    except SourceError as error:
        return Check(name, "bad", f"{error.reason} {error}")
    return Check(name, "good", f"answers with {info.codec}, {info.width}x{info.height}")

"""The checks of `facend doctor` on this box: folders, disks, models, MongoDB, daemon and cameras."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cameras.errors import SourceError
from cameras.observer import CameraState
from cameras.settings import CameraSettings
from cameras.source.ffmpeg import FFmpegSource
from daemon.config.camera_documents import ReadCameras
from daemon.config.collection_cameras import read_copy
from daemon.config.settings import Settings
from daemon.config.wanted_cameras import WantedCameras
from daemon.errors import SettingsError, StartError
from daemon.http import client as daemon_client
from daemon.http.server import listen
from daemon.model_loading import fetch_with_progress, models_folder
from daemon.runtime import data_folder
from daemon.runtime.disk_space import GIGABYTE, read_disks
from daemon.runtime.terminal import count
from pipeline.errors import ModelError
from pipeline.models.pack_files import Pack, folder_of, is_present, resolve
from store.errors import StoreError
from store.mongod.program import find_mongod

CAMERA_TIMEOUT_SECONDS = 5.0
CAMERAS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check."""

    name: str
    state: Literal["good", "warning", "bad", "repaired"]
    detail: str


def check_box(settings: Settings, *, repair: bool) -> Iterator[Check]:
    """Run all checks of the box, one after another."""
    running = data_folder.is_held(settings.data_dir)
    yield _data_folder(settings.data_dir, repair=repair)
    yield from _disks(settings)
    yield _models(settings, repair=repair)
    yield _mongod(settings)
    yield _spool(settings.data_dir / "spool")
    if running:
        yield from _daemon(settings)
    else:
        yield _port(settings)
        yield Check("daemon", "good", "not running; if it should be, see `systemctl status facend`")
        yield from check_cameras(settings)


def _data_folder(folder: Path, *, repair: bool) -> Check:
    if not repair and not folder.exists():
        return Check("data folder", "good", f"{folder} does not exist yet; `facend run` creates it")
    try:
        if repair:
            data_folder.prepare(folder)
        else:
            data_folder.require_usable(folder)
    except (StartError, OSError) as error:
        return Check("data folder", "bad", str(error))
    return Check("data folder", "good", str(folder))


def _disks(settings: Settings) -> Iterator[Check]:
    disks, errors = read_disks(settings.disk_folders)
    for error in errors.values():
        yield Check("disk", "bad", error)
    for disk in disks:
        if disk.warning:
            is_bad = disk.reserve_used or disk.reserve_too_large
            yield Check("disk", "bad" if is_bad else "warning", disk.warning)
        else:
            yield Check("disk", "good", f"{disk.space.free / GIGABYTE:.1f} GB free for {disk.folder}")


def _models(settings: Settings, *, repair: bool) -> Check:
    folder = models_folder(settings)
    try:
        pack = resolve(settings.models.pack, folder)
        wrong = _wrong_files(pack, folder)
        if not wrong:
            return Check("models", "good", f"{pack.name} in {folder_of(pack, folder)}")
        detail = f"{pack.name}: {', '.join(wrong)}"
        if not repair:
            return Check("models", "bad", f"{detail}; `facend models --fetch {pack.name}` downloads them")
        fetch_with_progress(pack, folder, settings.models.sources)
    except (ModelError, OSError) as error:
        return Check("models", "bad", str(error))
    return Check("models", "repaired", f"{detail}; downloaded again")


def _wrong_files(pack: Pack, folder: Path) -> list[str]:
    if not pack.files:
        return [] if is_present(pack, folder) else ["no .onnx files"]
    wrong = []
    for file in pack.files:
        path = folder_of(pack, folder) / file.name
        if not path.is_file():
            wrong.append(f"{file.name} is missing")
            continue
        with path.open("rb") as opened:
            if hashlib.file_digest(opened, "sha256").hexdigest() != file.sha256:
                wrong.append(f"{file.name} has the wrong digest")
    return wrong


def _mongod(settings: Settings) -> Check:
    if settings.store.url.get_secret_value():
        return Check("mongod", "good", "not needed: store.url names a server")
    try:
        return Check("mongod", "good", str(find_mongod(settings.store.mongod)))
    except StoreError as error:
        return Check("mongod", "bad", str(error))


def _spool(folder: Path) -> Check:
    waiting, dead = (len(list(folder.glob(pattern))) for pattern in ("*.sighting", "dead/*.reason"))
    pending = f"{count(waiting, 'sighting')} pending"
    if dead:
        text = f"{dead} cannot be stored; {folder / 'dead'} has each with its reason"
        return Check("spool", "bad", f"{pending}; {text}")
    return Check("spool", "good", pending)


def _port(settings: Settings) -> Check:
    try:
        with closing(listen(settings.http.host, settings.http.port)):
            return Check("port", "good", f"{settings.http.host}:{settings.http.port} is free")
    except StartError as error:
        return Check("port", "bad", str(error))


def _daemon(settings: Settings) -> Iterator[Check]:
    try:
        status = daemon_client.status(settings)
    except daemon_client.NoAnswerError as error:
        yield Check("daemon", "bad", f"running, but {error}")
        return
    since = f"{status.started_at:%Y-%m-%d %H:%M:%S} UTC"
    yield Check("daemon", "good", f"running since {since}, {status.summary}")
    spool = status.spool
    trouble = status.store.trouble or spool.fault
    if spool.dropped:
        text = f"full with {spool.bytes} bytes; {count(spool.dropped, 'sighting')} dropped"
        yield Check("spool size", "bad", text)
    yield Check("storing", "bad" if trouble else "good", trouble or "the store is available")
    for source, refused in status.configuration.items():
        if refused:
            yield Check(source, "bad", f"change refused, previous settings stay: {refused}")
    for camera in status.cameras:
        text = " ".join(filter(None, (camera.state, camera.reason, camera.detail)))
        yield Check(f"camera {camera.cam_id}", "bad" if camera.state is CameraState.RED else "good", text)
    for plugin in status.plugins:
        if plugin.state in ("resting", "failed"):
            yield Check(f"plugin {plugin.name}", "bad", f"{plugin.state}: {plugin.error}")
    for name, job in status.jobs.items():
        if job.last_error:
            yield Check(f"job {name}", "bad", job.last_error)


def check_cameras(settings: Settings) -> Iterator[Check]:
    """Open every camera that this box reads, several at once. Used while no daemon reads them."""
    stored = ReadCameras()
    try:
        stored = read_copy(settings.data_dir)
    except SettingsError as error:
        yield Check("stored cameras", "bad", f"the copy of the last run is unusable: {error}")
    for cam_id, problem in stored.refused.items():
        yield Check(f"camera {cam_id}", "bad", problem)
    wanted = WantedCameras(settings.box).merge(settings.cameras, stored.cameras)
    cameras = [camera for camera in wanted if camera.enabled]
    if not cameras:
        yield Check("cameras", "good", "this box has no cameras to read")
        return
    with ThreadPoolExecutor(min(CAMERAS_AT_ONCE, len(cameras))) as pool:
        yield from pool.map(_camera, cameras)


def _camera(camera: CameraSettings) -> Check:
    name = f"camera {camera.id}"
    if camera.password is not None and not camera.password.get_secret_value():
        return Check(name, "good", "not checked: only the service gets its password, from systemd")
    timeouts = {
        key: min(getattr(camera, key), CAMERA_TIMEOUT_SECONDS)
        for key in ("connect_timeout_seconds", "read_timeout_seconds")
    }
    try:
        with closing(FFmpegSource(camera.model_copy(update=timeouts))) as source:
            info = source.info
    except SourceError as error:
        return Check(name, "bad", f"{error.reason} {error}")
    return Check(name, "good", f"sends {info.codec}, {info.width}x{info.height}")

"""A first look at the box: is there everything that the service needs?"""

import hashlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from daemon.config.settings import Settings
from daemon.doctor import cameras as camera_checks
from daemon.doctor.finding import Check
from daemon.errors import StartError
from daemon.http import client as daemon_client
from daemon.http.server import listen
from daemon.models import fetch_with_progress, models_folder
from daemon.runtime import data_folder
from daemon.runtime.disk_space import GIGABYTE, read_disks
from pipeline.errors import ModelError
from pipeline.models.files import Pack, folder_of, is_present, resolve
from store.errors import StoreError
from store.mongod.program import find_mongod


def look(settings: Settings, *, repair: bool) -> Iterator[Check]:
    """Looks at one thing after the other."""
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
        yield Check("daemon", "good", "does not run; where it should, `systemctl status facend` says why")
        yield from camera_checks.look(settings)


def _data_folder(folder: Path, *, repair: bool) -> Check:
    if not repair and not folder.exists():
        return Check("data folder", "good", f"{folder} is not there yet; `facend run` makes it")
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
            return Check("models", "bad", f"{detail}; `facend models --fetch {pack.name}` brings them")
        fetch_with_progress(pack, folder, settings.models.sources)
    except (ModelError, OSError) as error:
        return Check("models", "bad", str(error))
    return Check("models", "repaired", f"{detail}; fetched again")


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
                wrong.append(f"{file.name} has a wrong digest")
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
    if dead:
        told = f"{dead} can never be stored, see {folder / 'dead'}, where each has its reason beside it"
        return Check("spool", "bad", f"{waiting} sightings wait; {told}")
    return Check("spool", "good", f"{waiting} sightings wait")


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
        yield Check("daemon", "bad", f"runs, but {error}")
        return
    yield Check("daemon", "good", f"runs since {status['started_at']}, {status['summary']}")
    spool = status["spool"]
    trouble = status["store"]["trouble"] or spool["fault"]
    if spool["dropped"]:
        told = f"full with {spool['bytes']} bytes, {spool['dropped']} sightings were dropped"
        yield Check("room in the spool", "bad", told)
    yield Check("storing", "bad" if trouble else "good", trouble or "the store answers")
    for source, refused in status["configuration"].items():
        if refused:
            yield Check(source, "bad", f"refused, and the old ones stay: {refused}")
    for camera in status["cameras"]:
        told = " ".join(filter(None, (camera["state"], camera.get("reason"), camera.get("detail"))))
        yield Check(f"camera {camera['cam_id']}", "bad" if camera["state"] == "red" else "good", told)
    for plugin in status["plugins"]:
        if plugin["state"] in ("resting", "failed"):
            yield Check(f"plugin {plugin['name']}", "bad", f"{plugin['state']}: {plugin['error']}")
    for name, job in status["jobs"].items():
        if job["last_error"]:
            yield Check(f"job {name}", "bad", job["last_error"])

"""Cameras as documents of the Cameras collection, and as settings; passwords stay outside the documents."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cameras.settings import CameraSettings
from daemon.config import file as settings_file
from daemon.config.camera_secrets import CameraSecrets
from daemon.config.secrets import SecretError
from daemon.errors import SettingsError
from pipeline.base.urls import holds_secret
from store import BadValueError

STORES_OWN = ("_id", "owner", "schema")
SECRETS = {"password_secret": "password", "url_secret": "secret_end"}
"""The name of a secret in a document, and what it stands for in the settings."""


KNOWN = frozenset({*CameraSettings.model_fields, *SECRETS})
"""What a document says to the daemon. All its other fields are data of the user's own."""


@dataclass(frozen=True, slots=True)
class ReadCameras:
    """What documents say: each camera that is in order, and why the others are not."""

    cameras: tuple[CameraSettings, ...] = ()
    """In order of their ids."""
    copies: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By id, the document of each as plain values."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """By id, what is wrong with a document."""


def cameras_of(documents: Iterable[object], secrets: CameraSecrets) -> ReadCameras:
    """The documents' cameras. One that is at fault stands in the way of no other."""
    cameras: dict[str, CameraSettings] = {}
    copies, refused = {}, {}
    for document in documents:
        if not isinstance(document, Mapping):
            refused[_shown_id(document)] = "a camera of the collection: expected a mapping of fields"
            continue
        try:
            camera = camera_of(document, secrets)
        except SettingsError as error:
            refused[_shown_id(document.get("id"))] = "; ".join(error.problems)
            continue
        if camera.id in cameras:
            refused[camera.id] = f"the camera {camera.id} of the collection: id: used twice"
            continue
        cameras[camera.id] = camera
        copies[camera.id] = {
            **camera.model_dump(mode="json", exclude_defaults=True, exclude={"password", "secret_end"}),
            **{name: document[name] for name in SECRETS if document.get(name)},
        }
    return ReadCameras(tuple(cameras[cam_id] for cam_id in sorted(cameras)), copies, refused)


def camera_of(document: Mapping[str, Any], secrets: CameraSecrets) -> CameraSettings:
    """One document's camera, with its secrets. SettingsError has a line for each fault."""
    source = f"the camera {_shown_id(document.get('id'))} of the collection"
    raw = {key: value for key, value in document.items() if key in KNOWN and key not in SECRETS}
    for key in ("password", "secret_end"):
        if key in raw:
            raise SettingsError([f"{source}: {key}: a document holds no secret, but the name of one"])
    url = raw.get("url")
    if isinstance(url, str) and holds_secret(url):
        raise SettingsError([f"{source}: url: a document holds no secret; `facend cameras add` takes it out"])
    for name, key in SECRETS.items():
        if document.get(name):
            try:
                raw[key] = secrets.get(document[name])
            except SecretError as error:
                raise SettingsError([f"{source}: {name}: {error}"]) from error
    return settings_file.validate_camera(raw, source)


def misspelt(document: Mapping[str, Any]) -> dict[str, str]:
    """Fields of the user's own that look like one of the daemon's, and which one."""
    own = [key for key in document if key not in KNOWN and key not in STORES_OWN]
    near = {key: difflib.get_close_matches(key, KNOWN, n=1, cutoff=0.8) for key in own}
    return {key: found[0] for key, found in near.items() if found}


def _shown_id(cam_id: object) -> str:
    return cam_id[:44] if isinstance(cam_id, str) else f"{cam_id!r:.40}"


def plain(document: Mapping[str, Any]) -> dict[str, Any]:
    """What a document says of its camera, without what the store adds."""
    return {key: value for key, value in document.items() if key not in STORES_OWN}


def document_of(camera: CameraSettings, secrets: CameraSecrets) -> dict[str, Any]:
    """The camera as a document; its secrets are kept on this box, under names made of its id."""
    document = camera.model_dump(mode="json", exclude_defaults=True, exclude={"password", "secret_end"})
    for key, secret, name in (
        ("password_secret", camera.password, camera.id),
        ("url_secret", camera.secret_end, f"{camera.id}.url"),
    ):
        if secret is not None:
            secrets.put(name, secret.get_secret_value())
            document[key] = name
    return document


def check_document(document: Mapping[str, Any]) -> None:
    """BadValueError where this is no camera that the daemon can read; fields of the user's own pass."""
    raw = {key: value for key, value in document.items() if key in CameraSettings.model_fields}
    try:
        settings_file.validate_camera(raw, "the camera")
    except SettingsError as error:
        raise BadValueError("; ".join(error.problems)) from error

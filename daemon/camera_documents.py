"""Cameras as documents of the Cameras collection, and as settings; passwords stay outside the documents."""

from collections.abc import Iterable, Mapping
from typing import Any

from cameras.settings import CameraSettings
from daemon import settings_file
from daemon.camera_secrets import CameraSecrets
from daemon.errors import SettingsError
from daemon.secrets import SecretError
from pipeline.urls import holds_secret

STORES_OWN = ("_id", "owner", "schema")
SECRETS = {"password_secret": "password", "url_secret": "secret_end"}
"""The name of a secret in a document, and what it stands for in the settings."""


def cameras_of(documents: Iterable[Mapping[str, Any]], secrets: CameraSecrets) -> tuple[CameraSettings, ...]:
    """The documents' cameras, in order of their ids. SettingsError has a line for each fault of any."""
    cameras, problems = [], []
    for document in documents:
        try:
            cameras.append(camera_of(document, secrets))
        except SettingsError as error:
            problems += error.problems
    if problems:
        raise SettingsError(problems)
    return tuple(sorted(cameras, key=lambda camera: camera.id))


def camera_of(document: Mapping[str, Any], secrets: CameraSecrets) -> CameraSettings:
    """One document's camera, with its secrets. SettingsError has a line for each fault."""
    source = f"the camera {document.get('id', '')} of the collection"
    raw = {key: value for key, value in document.items() if key not in (*STORES_OWN, *SECRETS)}
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

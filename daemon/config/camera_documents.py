"""Converts between documents of the Cameras collection and camera settings; documents hold no passwords."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cameras.settings import CameraSettings
from daemon.config.camera_secrets import CameraSecrets
from daemon.config.secret_references import SecretError
from daemon.config.validation import validate_camera
from daemon.errors import SettingsError
from pipeline.base.urls import holds_secret
from store import BadValueError

STORE_FIELDS = ("_id", "owner", "schema")
"""Fields that the store adds."""
SECRETS = {"password_secret": "password", "url_secret": "secret_end"}
"""Fields of a document that name a secret, and the settings to which the secrets belong."""

KNOWN = frozenset({*CameraSettings.model_fields, *SECRETS})
"""Fields that the daemon reads. All others are data of the user."""


@dataclass(frozen=True, slots=True)
class ReadCameras:
    """The valid cameras of a collection, and why the others are refused."""

    cameras: tuple[CameraSettings, ...] = ()
    """Ordered by id."""
    copies: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Documents of the valid cameras by id, as JSON values."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Error by id."""


def read_cameras(documents: Iterable[object], secrets: CameraSecrets) -> ReadCameras:
    """Validate the documents; an invalid one does not affect the others."""
    cameras: dict[str, CameraSettings] = {}
    copies, refused = {}, {}
    for document in documents:
        if not isinstance(document, Mapping):
            refused[_shown_id(document)] = "a camera of the collection: expected a mapping of fields"
            continue
        try:
            camera = read_camera(document, secrets)
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


def read_camera(document: Mapping[str, Any], secrets: CameraSecrets) -> CameraSettings:
    """The settings of a document, with its secrets.

    Raises:
        SettingsError: with a line for each error.
    """
    source = f"the camera {_shown_id(document.get('id'))} of the collection"
    raw = {key: value for key, value in document.items() if key in KNOWN and key not in SECRETS}
    for key in ("password", "secret_end"):
        if key in raw:
            raise SettingsError(
                [f"{source}: {key}: expected the name of a secret; a document holds no secrets"]
            )
    url = raw.get("url")
    if isinstance(url, str) and holds_secret(url):
        raise SettingsError(
            [f"{source}: url: a document holds no secrets; `facend cameras add` stores them on this box"]
        )
    for name, key in SECRETS.items():
        if document.get(name):
            try:
                raw[key] = secrets.get(document[name])
            except SecretError as error:
                raise SettingsError([f"{source}: {name}: {error}"]) from error
    return validate_camera(raw, source)


def misspelt(document: Mapping[str, Any]) -> dict[str, str]:
    """Unknown fields that resemble a known field, with the known field."""
    unknown = [key for key in document if key not in KNOWN and key not in STORE_FIELDS]
    near = {key: difflib.get_close_matches(key, KNOWN, n=1, cutoff=0.8) for key in unknown}
    return {key: found[0] for key, found in near.items() if found}


def _shown_id(cam_id: object) -> str:
    return cam_id[:44] if isinstance(cam_id, str) else f"{cam_id!r:.40}"


def without_store_fields(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document without the fields that the store adds."""
    return {key: value for key, value in document.items() if key not in STORE_FIELDS}


def to_document(camera: CameraSettings, secrets: CameraSecrets) -> dict[str, Any]:
    """Convert a camera to a document, and store its secrets on this box under names derived from its id."""
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
    """Validate the known fields of a camera's document.

    Raises:
        BadValueError: the daemon cannot use this camera.
    """
    raw = {key: value for key, value in document.items() if key in CameraSettings.model_fields}
    try:
        validate_camera(raw, "the camera")
    except SettingsError as error:
        raise BadValueError("; ".join(error.problems)) from error

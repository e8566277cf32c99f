"""The model of settings.toml, validated as a whole before anything starts.

Each key has a default that suits a first run; settings.toml documents the keys.
"""

import re
import socket
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from cameras.settings import CameraSettings
from daemon.events.rules.settings import RuleSettings
from daemon.events.sinks.mqtt.settings import SINK_NAME, MqttSettings
from daemon.events.sinks.settings import WebhookSettings
from daemon.runtime.disk_space import DiskFolders
from daemon.runtime.logs import LogFormat, LogLevel
from pipeline.base.hosts import check_host, split_authority
from pipeline.base.tls import TlsVerify
from pipeline.base.urls import split_url
from pipeline.limits import MAX_PIXELS
from store.settings import FacensSettings, PersonsSettings, RetentionSettings, StoreSettings, WhenFull
from store.uploads.external import AllowedHosts

if TYPE_CHECKING:
    from pipeline.stages import StageSettings

MEBIBYTE = 1024 * 1024
MAX_URL_LENGTH = 2000
CENTURY_DAYS = 36_525
MAX_FACES = 10**12
"""Upper bound of settings that count faces."""
MAX_BYTES = 2**60


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)


def _absolute(path: Path, info: ValidationInfo) -> Path:
    """Resolve relative paths against the folder of the settings file; default: the current folder."""
    folder: Path = (info.context or {}).get("folder", Path())
    try:
        return (folder / path.expanduser()).absolute()
    except RuntimeError as error:
        raise ValueError("expected ~/ of an existing user, or a path without ~") from error


AbsolutePath = Annotated[Path, AfterValidator(_absolute)]


def _all_to_empty(names: object) -> object:
    return () if names == "all" else names


class UploadsSettings(Section):
    folder: AbsolutePath | None = None
    base_url: str = ""
    url: str = ""
    user: str = ""
    password: SecretStr = SecretStr("")
    tls_verify: TlsVerify = True
    """How the upload server's certificate is checked."""
    timeout_seconds: float = Field(default=20, ge=1, le=300)
    min_free_bytes: int | None = Field(default=None, ge=0, le=MAX_BYTES)
    """Bytes that pictures leave free on their disk. Default: `DiskSpace.default_reserve`."""
    thumbnail_hosts: tuple[str, ...] = ()

    @field_validator("thumbnail_hosts")
    @classmethod
    def _are_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        AllowedHosts.parse(hosts)
        return hosts

    @field_validator("base_url", "url")
    @classmethod
    def _is_a_web_address(cls, url: str) -> str:
        if not url:
            return url
        if not url.startswith(("http://", "https://")):
            raise ValueError("expected http://… or https://…, or nothing for a local folder")
        parts = split_url(url)
        if parts.user is not None or parts.password is not None:
            raise ValueError("expected no password: every picture's URL would contain it; see uploads.user")
        if "?" in url or "#" in url:
            raise ValueError("expected no ? and no #: names of pictures are appended")
        if re.search(r"[\s\x00-\x1f\x7f]", url) or len(url) > MAX_URL_LENGTH:
            raise ValueError(f"expected a URL without spaces, of up to {MAX_URL_LENGTH} characters")
        split_authority(re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)[0])
        return url

    @model_validator(mode="after")
    def _is_one_place(self) -> Self:
        if self.url and self.folder:
            raise ValueError("expected a folder or a url, not both")
        return self


class SpoolSettings(Section):
    max_bytes: int = Field(default=2048 * MEBIBYTE, ge=16 * MEBIBYTE, le=MAX_BYTES)
    when_full: WhenFull = "drop_poorest"


class ModelsSettings(Section):
    pack: str = Field(default="opencv-zoo", min_length=1, max_length=256)
    folder: AbsolutePath | None = None
    sources: tuple[AbsolutePath, ...] = ()
    threads: int = Field(default=1, ge=1, le=64)
    genderage: AbsolutePath | None = None
    emotions: AbsolutePath | None = None


class PipelineSettings(Section):
    detect_size: int = Field(default=640, ge=160, le=4096)
    idle_fps: float = Field(default=2, ge=0.01, le=30)
    start_score: float = Field(default=0.6, ge=0.3, le=1)
    track_timeout_seconds: float = Field(default=1.5, ge=0.01, le=60)
    visit_shots: int = Field(default=4, ge=1, le=16)
    max_visit_seconds: float = Field(default=60, ge=1, le=86_400)
    motion_gate: bool = True
    max_pixels: int = Field(default=MAX_PIXELS, ge=1, le=MAX_PIXELS * 2)

    def for_camera(self, camera: CameraSettings) -> "StageSettings":
        """The analysis settings of one camera."""
        # Imported on use: these modules take a second, and most commands only read the settings.
        from pipeline.stages import StageSettings
        from pipeline.visits.best_shot import Posting
        from pipeline.visits.regions import Region

        return StageSettings(
            posting=Posting(camera.posting),
            post_interval_seconds=camera.post_interval_seconds,
            min_face_px=camera.min_face_px,
            min_score=camera.min_score,
            store_unrecognisable=camera.store_unrecognisable,
            roi=Region.from_shapes(camera.roi),
            rot=Region.from_shapes(camera.rot),
            detect_size=self.detect_size,
            max_fps=camera.max_fps,
            idle_fps=self.idle_fps,
            start_score=self.start_score,
            track_timeout_seconds=self.track_timeout_seconds,
            visit_shots=self.visit_shots,
            max_visit_seconds=self.max_visit_seconds,
        )


MIN_TOKEN_LENGTH = 16


class HttpSettings(Section):
    host: str = "127.0.0.1"
    port: int = Field(default=9464, ge=0, le=65535)
    token: SecretStr = SecretStr("")
    allowed_hosts: tuple[str, ...] = ()
    max_connections: int = Field(default=256, ge=16, le=10_000)
    max_connections_per_client: int = Field(default=64, ge=4, le=10_000)
    request_timeout_seconds: float = Field(default=10, ge=1, le=300)
    write_timeout_seconds: float = Field(default=30, ge=1, le=3600)
    add_webhooks: bool = False
    """Whether the HTTP API may add webhooks, to whose URLs this box then makes requests."""

    @field_validator("host")
    @classmethod
    def _is_a_host(cls, host: str) -> str:
        if host:
            check_host(host)
        return host

    @model_validator(mode="after")
    def _requires_token(self) -> Self:
        length = len(self.token.get_secret_value())
        if not length and not _is_loopback(self.host):
            raise ValueError("other machines can reach this host: set http.token")
        if 0 < length < MIN_TOKEN_LENGTH:
            raise ValueError(
                f"http.token has {length} characters, which can be guessed: use {MIN_TOKEN_LENGTH} or more, "
                "for example from `openssl rand -hex 16`"
            )
        return self


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


TimeOfDay = Annotated[
    str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", description="a time HH:MM, for example 03:30")
]


class JobsSettings(Section):
    retention_at: TimeOfDay = "03:30"
    doctor_at: TimeOfDay = "04:30"
    merge_at: TimeOfDay = "05:00"
    look_again_minutes: int = Field(default=30, ge=1, le=1440)
    trust_clock: bool = False
    """Whether retention runs even if the clock may be far ahead."""
    faces_days: float = Field(default=365, ge=0, le=CENTURY_DAYS)
    pictures_days: float = Field(default=90, ge=0, le=CENTURY_DAYS)
    max_faces: int = Field(default=0, ge=0, le=MAX_FACES)
    max_picture_bytes: int = Field(default=0, ge=0, le=MAX_BYTES)
    dead_days: float = Field(default=30, ge=0, le=CENTURY_DAYS)
    audit_days: float = Field(default=730, ge=0, le=CENTURY_DAYS)

    @property
    def retention(self) -> RetentionSettings:
        return RetentionSettings(
            trust_clock=self.trust_clock,
            faces_days=self.faces_days or None,
            pictures_days=self.pictures_days or None,
            max_faces=self.max_faces or None,
            max_picture_bytes=self.max_picture_bytes or None,
            dead_days=self.dead_days or None,
        )


class FacenApiSettings(Section):
    """The findface-facenapi wire below /v0 and /v1."""

    enabled: bool = True
    delete_gallery_faces: bool = False
    """Whether deleting a gallery removes its faces, as the original does."""


class PluginsSettings(Section):
    dirs: tuple[AbsolutePath, ...] = ()
    enabled: Annotated[tuple[str, ...], BeforeValidator(_all_to_empty)] = ()
    """Names of the plugins to use; empty: all that are found."""
    packages: AbsolutePath | None = None
    """Folder of the Python packages that plugins need beyond Facend's own."""
    timeout_seconds: float = Field(default=5, ge=0.01, le=60)
    request_timeout_seconds: float = Field(default=60, ge=0.01, le=3600)
    max_body_bytes: int = Field(default=16 * MEBIBYTE, ge=1024, le=1024 * MEBIBYTE)
    max_documents: int = Field(default=10_000, ge=1, le=1_000_000)
    options: dict[str, dict[str, Any]] = {}


class Settings(Section):
    data_dir: AbsolutePath = Field(default=Path("data"), validate_default=True)
    detector: str = Field(default="", max_length=256)
    """Name of this box; empty: the host name."""
    log_format: LogFormat = "auto"
    log_level: LogLevel = "info"
    store: StoreSettings = StoreSettings()
    facens: FacensSettings = FacensSettings()
    uploads: UploadsSettings = UploadsSettings()
    spool: SpoolSettings = SpoolSettings()
    models: ModelsSettings = ModelsSettings()
    pipeline: PipelineSettings = PipelineSettings()
    persons: PersonsSettings = PersonsSettings()
    http: HttpSettings = HttpSettings()
    jobs: JobsSettings = JobsSettings()
    facenapi: FacenApiSettings = FacenApiSettings()
    plugins: PluginsSettings = PluginsSettings()
    webhooks: tuple[WebhookSettings, ...] = ()
    mqtt: MqttSettings = MqttSettings()
    rules: tuple[RuleSettings, ...] = ()
    cameras: tuple[CameraSettings, ...] = ()

    @property
    def box(self) -> str:
        """The name of this box, to which `detector` of a camera refers."""
        return self.detector or socket.gethostname()

    @property
    def pictures_folder(self) -> Path | None:
        """The folder of the pictures; None if an upload server keeps them."""
        if self.uploads.url:
            return None
        return self.uploads.folder or self.data_dir / "uploads"

    @property
    def disk_folders(self) -> DiskFolders:
        return DiskFolders(self.data_dir, self.pictures_folder, self.uploads.min_free_bytes)

    @field_validator("webhooks")
    @classmethod
    def _names_are_used_once(cls, webhooks: tuple[WebhookSettings, ...]) -> tuple[WebhookSettings, ...]:
        names = [webhook.name for webhook in webhooks]
        if duplicates := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"each webhook needs a unique name; used twice: {', '.join(duplicates)}")
        if SINK_NAME in names:
            raise ValueError(f"{SINK_NAME} is the name of the MQTT sink: choose another one")
        return webhooks

    @field_validator("rules")
    @classmethod
    def _names_of_rules_are_used_once(cls, rules: tuple[RuleSettings, ...]) -> tuple[RuleSettings, ...]:
        names = [rule.name for rule in rules]
        if twice := sorted({one for one in names if names.count(one) > 1}):
            raise ValueError(f"each rule needs a name of its own; used twice: {', '.join(twice)}")
        return rules

    @field_validator("cameras")
    @classmethod
    def _ids_are_used_once(cls, cameras: tuple[CameraSettings, ...]) -> tuple[CameraSettings, ...]:
        ids = [camera.id for camera in cameras]
        if duplicates := sorted({cam_id for cam_id in ids if ids.count(cam_id) > 1}):
            raise ValueError(f"each camera needs a unique id; used twice: {', '.join(duplicates)}")
        return cameras

"""One camera's settings."""

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from cameras.urls import UrlKind, check_url, kind_of, local_path
from pipeline.base.tls import TlsVerify
from pipeline.base.urls import HIDDEN, UrlError, joined, mask_url, split_url
from pipeline.visits.regions import Region

Box = tuple[float, float, float, float]
"""(left, top, right, bottom) in fractions of the picture's width and height."""

Polygon = tuple[tuple[float, float], ...]
"""Corners (x, y) in fractions of the picture's width and height."""


def _checked(shapes: object) -> object:
    """Left as they are; RegionError says which one is none, and why."""
    if isinstance(shapes, list | tuple):
        Region.of(shapes)
    return shapes


Shapes = Annotated[tuple[Box | Polygon, ...], BeforeValidator(_checked)]
"""As `pipeline.visits.regions.Region.of` takes them."""


class CameraSettings(BaseModel):
    """Where a camera is, how it is read, and what is wanted of it.

    A user and a password in the URL are taken out of it while it is read, so that `url` can be shown
    anywhere; only `connect_url()` puts them back.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,44}$")
    url: str
    """Without user and password."""
    name: str = Field(default="", max_length=256)
    enabled: bool = True
    detector: str = Field(default="", max_length=256)
    """The box that reads this camera; empty for any."""
    meta: dict[str, str | int | float | bool] = Field(default_factory=dict, max_length=256)

    user: str | None = Field(default=None, max_length=1024)
    password: SecretStr | None = Field(default=None, max_length=1024)
    secret_end: SecretStr | None = Field(default=None, repr=False)
    """The URL's path or query, where it carries a secret; taken out of the URL."""

    transport: Literal["tcp", "udp"] = "tcp"
    tls_verify: TlsVerify = True
    """https and rtsps: whether the camera's certificate is checked, and against which authorities."""
    loop: bool = False
    """A recording begins again when it ends."""
    speed: Literal["media", "fast"] = "media"
    """Recordings: as fast as they were taken, or as fast as they can be analysed, losing no frame."""
    connect_timeout_seconds: float = Field(default=10, ge=0.5, le=120)
    read_timeout_seconds: float = Field(default=12, ge=1, le=300)
    """No frame for so long is a stalled stream; it is opened again. More than two frames' time, because
    FFmpeg hands out a frame when the next one has begun."""
    reconnect_max_seconds: float = Field(default=2, ge=0.5, le=300)
    """The longest wait between two attempts."""

    decode: Literal["all", "keyframes"] = "all"
    """Every frame; or only key frames while nothing happens, and then every frame since the last one."""
    max_fps: float = Field(default=10, ge=0.01, le=120)
    posting: Literal["realtime", "overall", "both"] = "overall"
    post_interval_seconds: float = Field(default=1, ge=0.1, le=3600)
    min_face_px: int = Field(default=30, ge=16, le=4096)
    min_score: float = Field(default=-4, ge=-1000, le=0)
    roi: Shapes = ()
    """Where a face may be to be posted; empty for everywhere."""
    rot: Shapes = ()
    """Where a face may be tracked; empty for everywhere."""

    @model_validator(mode="before")
    @classmethod
    def _take_secrets_out_of_the_url(cls, data: object) -> object:
        if not isinstance(data, Mapping) or not isinstance(data.get("url"), str):
            return data
        try:
            parts = split_url(data["url"].strip())
        except UrlError:
            return {
                **data,
                "url": mask_url(data["url"].strip()),
            }  # for `check` to refuse, without its secrets
        taken: dict[str, Any] = {"url": parts.public}
        if parts.secret_end is not None:
            taken["secret_end"] = SecretStr(parts.secret_end)
        # What stands beside the URL wins: that is where a secret from a file or the environment arrives.
        if parts.user and not data.get("user"):
            taken["user"] = parts.user
        if parts.password and not data.get("password"):
            taken["password"] = SecretStr(parts.password)
        return {**data, **taken}

    @field_validator("url")
    @classmethod
    def _can_be_opened(cls, url: str) -> str:
        check_url(url)
        return url

    @model_validator(mode="after")
    def _login_is_whole(self) -> "CameraSettings":
        if self.user and self.kind in (UrlKind.FILE, UrlKind.DEVICE):
            raise ValueError("a file has no user; the URL of a camera begins with rtsp:// or the like")
        if self.user == HIDDEN:
            raise ValueError(f"{HIDDEN} stands for a user and a password that were hidden; give them")
        if self.password is not None and not self.user:
            raise ValueError("a password needs a user")
        return self

    @property
    def kind(self) -> UrlKind:
        return kind_of(self.url)

    @property
    def fingerprint(self) -> str:
        """Changes with the settings; a secret that changes does not count."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]

    @property
    def crash_tag(self) -> str:
        """What tracebacks call code that runs for this camera, see `cameras.source.crash_tag`."""
        return f"camera {self.id} {self.fingerprint}"

    @property
    def masked_url(self) -> str:
        """The URL as it may be shown; *** stands where user and password are."""
        if self.user is None or self.kind not in (UrlKind.RTSP, UrlKind.HTTP):
            return mask_url(self.url)
        scheme, _, rest = self.url.partition("://")
        return mask_url(f"{scheme}://{HIDDEN}@{rest}")

    def connect_url(self) -> str:
        """The URL with its secrets, percent-encoded: for the one who opens it, and nobody else."""
        if self.kind is UrlKind.DEVICE:
            return self.url
        if self.kind is UrlKind.FILE:
            # The prefix keeps a path with a colon in it from being read as another protocol.
            return f"file:{local_path(self.url)}"
        url = joined(self.url, None if self.secret_end is None else self.secret_end.get_secret_value())
        scheme, _, rest = url.partition("://")
        if self.user is None:
            return f"{scheme}://{rest}"
        secret = f":{quote(self.password.get_secret_value(), safe='')}" if self.password is not None else ""
        return f"{scheme}://{quote(self.user, safe='')}{secret}@{rest}"

"""Settings of one camera."""

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
"""(left, top, right, bottom) in fractions of the picture's size."""

Polygon = tuple[tuple[float, float], ...]
"""Corners (x, y) in fractions of the picture's size."""


def _validate_shapes(shapes: object) -> object:
    """Validate the shapes; returns them unchanged. RegionError names the invalid one."""
    if isinstance(shapes, list | tuple):
        Region.from_shapes(shapes)
    return shapes


Shapes = Annotated[tuple[Box | Polygon, ...], BeforeValidator(_validate_shapes)]
"""Shapes as `pipeline.visits.regions.Region.from_shapes` accepts them."""


class CameraSettings(BaseModel):
    """Address of a camera, how to read it, and what to post.

    Validation moves user and password out of the URL, so `url` can be shown anywhere; only `connect_url()`
    puts them back.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,44}$", description="1 to 44 letters, digits, _ or -")
    url: str
    """Without user and password."""
    name: str = Field(default="", max_length=256)
    enabled: bool = True
    detector: str = Field(default="", max_length=256)
    """Name of the box that reads this camera; empty for any."""
    serial: str = Field(default="", max_length=256)
    """Serial number that the camera reports by ONVIF; `facend cameras discover` finds it by this."""
    meta: dict[str, str | int | float | bool] = Field(default_factory=dict, max_length=256)

    user: str | None = Field(default=None, max_length=1024)
    password: SecretStr | None = Field(default=None, max_length=1024)
    secret_end: SecretStr | None = Field(default=None, repr=False)
    """Path or query of the URL if it contains a secret; in `url` it is replaced by ***."""

    transport: Literal["auto", "tcp", "udp"] = "auto"
    """RTSP; auto: try TCP, then UDP, and keep the one that works."""
    tls_verify: TlsVerify = True
    """https and rtsps: whether the camera's certificate is checked, and against which CA certificates."""
    loop: bool = False
    """Restart a recording when it ends."""
    speed: Literal["media", "fast"] = "media"
    """Recordings: at most in real time, or as fast as they can be analysed."""
    connect_timeout_seconds: float = Field(default=10, ge=0.5, le=120)
    interval_seconds: float = Field(default=1, ge=0.1, le=3600)
    """Snapshots over HTTP: interval between two requests."""
    read_timeout_seconds: float = Field(default=12, ge=1, le=300)
    """A stream without frames for this time is stalled and is reopened. Must exceed two frame durations,
    because FFmpeg returns a frame when the next one begins."""
    reconnect_max_seconds: float = Field(default=2, ge=0.5, le=300)
    """Maximum pause between two attempts."""

    decode: Literal["all", "keyframes"] = "all"
    """All frames, or key frames only while nothing happens."""
    max_fps: float = Field(default=10, ge=0.01, le=120)
    posting: Literal["realtime", "overall", "both"] = "overall"
    post_interval_seconds: float = Field(default=1, ge=0.1, le=3600)
    min_face_px: int = Field(default=30, ge=16, le=4096)
    min_score: float = Field(default=-4, ge=-1000, le=0)
    store_unrecognisable: bool = False
    """Also store detections that are no recognisable face; they create no person."""
    roi: Shapes = ()
    """Region in which faces are posted; empty for everywhere."""
    rot: Shapes = ()
    """Region in which faces are tracked; empty for everywhere."""

    @property
    def is_lossless(self) -> bool:
        """Whether a recording waits for the analysis instead of dropping frames.

        A recording that is looped in real time simulates a live camera, and drops frames.
        """
        return self.speed == "fast" or not self.loop

    @model_validator(mode="before")
    @classmethod
    def _extract_secrets(cls, data: object) -> object:
        if not isinstance(data, Mapping) or not isinstance(data.get("url"), str):
            return data
        try:
            parts = split_url(data["url"].strip())
        except UrlError:
            return {
                **data,
                "url": mask_url(data["url"].strip()),
            }  # for `check_url` to reject, without its secrets
        extracted: dict[str, Any] = {"url": parts.public}
        if parts.secret_end is not None:
            extracted["secret_end"] = SecretStr(parts.secret_end)
        # Separate keys win over the URL: they may come from a file or the environment.
        if parts.user and not data.get("user"):
            extracted["user"] = parts.user
        if parts.password and not data.get("password"):
            extracted["password"] = SecretStr(parts.password)
        return {**data, **extracted}

    @field_validator("url")
    @classmethod
    def _validate_url(cls, url: str) -> str:
        check_url(url)
        return url

    @model_validator(mode="after")
    def _validate_login(self) -> "CameraSettings":
        if self.user and self.kind in (UrlKind.FILE, UrlKind.DEVICE):
            raise ValueError(
                "a file has no user; a camera's URL begins with rtsp://, rtsps://, http:// or https://"
            )
        if self.user == HIDDEN:
            raise ValueError(f"{HIDDEN} replaces a hidden user and password; write the real ones")
        if self.password is not None and not self.user:
            raise ValueError("a password needs a user")
        return self

    @property
    def kind(self) -> UrlKind:
        return kind_of(self.url)

    @property
    def fingerprint(self) -> str:
        """Hash of the settings without their secrets."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]

    @property
    def crash_tag(self) -> str:
        """Name of this camera's stack frames, see `cameras.source.crash_tag`."""
        return f"camera {self.id} {self.fingerprint}"

    @property
    def masked_url(self) -> str:
        """The URL with user and password replaced by ***."""
        if self.user is None or self.kind not in (UrlKind.RTSP, UrlKind.HTTP):
            return mask_url(self.url)
        scheme, _, rest = mask_url(self.url).partition("://")
        return f"{scheme}://{HIDDEN}@{rest}"

    def connect_url(self, request_url: str | None = None) -> str:
        """The URL with its secrets, percent-encoded; use it only to connect.

        request_url: a URL without user and password, such as the target of a redirect; default: the camera's.
        """
        if self.kind is UrlKind.DEVICE:
            return self.url
        if self.kind is UrlKind.FILE:
            # Without the prefix FFmpeg reads a path that contains a colon as a protocol.
            return f"file:{local_path(self.url)}"
        scheme, _, rest = (request_url or self.request_url()).partition("://")
        if self.user is None:
            return f"{scheme}://{rest}"
        # FFmpeg sends no login without the colon of an empty password.
        password = self.password.get_secret_value() if self.password is not None else ""
        return f"{scheme}://{quote(self.user, safe='')}:{quote(password, safe='')}@{rest}"

    def request_url(self) -> str:
        """The URL of a network camera with secrets in its path or query, but without user and password."""
        return joined(self.url, None if self.secret_end is None else self.secret_end.get_secret_value())

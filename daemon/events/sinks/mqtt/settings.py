"""The section [mqtt] of settings.toml."""

import re
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from daemon.events.sinks.settings import EventTypes
from pipeline.base.hosts import split_authority
from pipeline.base.tls import TlsVerify
from pipeline.base.urls import split_url

SINK_NAME = "mqtt"
"""Of the sink, in metrics and in the outbox; no webhook may have it."""
PORTS = {"mqtt": 1883, "mqtts": 8883}
MAX_TOPIC_LENGTH = 128


def _is_a_topic(topic: str) -> str:
    """MQTT 5.0, 4.7: a topic to publish to has no wildcard; empty levels are legal but confuse people."""
    if re.search(r"[+#\s\x00-\x1f\x7f]", topic):
        raise ValueError("expected a topic without spaces, + and #, for example facend")
    if topic.startswith("$") or not all(topic.split("/")):
        raise ValueError(
            "expected a topic that does not begin with $ and has no empty level, for example facend"
        )
    return topic


Topic = Annotated[str, Field(max_length=MAX_TOPIC_LENGTH), AfterValidator(_is_a_topic)]


class MqttSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    url: str = ""
    """Empty: no MQTT."""
    user: str = Field(default="", max_length=1024)
    password: SecretStr = SecretStr("")
    tls_verify: TlsVerify = True
    client_certificate: Path | None = None
    """PEM file; with `client_key` it identifies this box to the broker."""
    client_key: Path | None = None
    base_topic: Topic = "facend"
    discovery: bool = True
    """Whether Home Assistant is told what there is."""
    discovery_prefix: Topic = "homeassistant"
    types: EventTypes = ()
    """Empty: all types."""
    cameras: tuple[str, ...] = ()
    """Ids; empty: all cameras, and events without a camera."""
    present_seconds: Annotated[float, Field(ge=0, le=86_400)] = 60
    """How long a person stays present after the last visit has ended."""
    keepalive_seconds: Annotated[int, Field(ge=5, le=300)] = 15
    timeout_seconds: Annotated[float, Field(ge=0.1, le=60)] = 10
    give_up_hours: Annotated[float, Field(ge=0, le=168)] = 24

    @property
    def enabled(self) -> bool:
        return bool(self.url)

    @property
    def tls(self) -> bool:
        return self.url.startswith("mqtts://")

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or PORTS[parts.scheme]

    @field_validator("url")
    @classmethod
    def _is_a_broker(cls, url: str) -> str:
        if not url:
            return url
        if not re.match(r"mqtts?://", url):
            raise ValueError("expected mqtts://host or mqtt://host, with :port where it is not the usual one")
        parts = split_url(url)
        if parts.user is not None or parts.password is not None:
            raise ValueError("expected no login in the URL; see mqtt.user and mqtt.password")
        authority = url.partition("://")[2].removesuffix("/")
        if not authority or re.search(r"[/?#\s]", authority):
            raise ValueError("expected a host and nothing behind it, as in mqtts://broker.example:8883")
        split_authority(authority)
        return url.removesuffix("/")

    @model_validator(mode="after")
    def _has_both_parts(self) -> Self:
        if bool(self.client_certificate) != bool(self.client_key):
            raise ValueError("expected both client_certificate and client_key, or none of them")
        for path in (self.client_certificate, self.client_key):
            if path is not None and not path.is_absolute():
                raise ValueError("expected absolute paths of PEM files in client_certificate and client_key")
        if self.password.get_secret_value() and not self.user:
            raise ValueError("a password needs mqtt.user")
        if not self.tls and self.client_certificate:
            raise ValueError("a client certificate needs TLS: expected mqtts:// in mqtt.url")
        return self

    def wants(self, event_type: str, cam_id: str | None) -> bool:
        """Whether an event of this type and camera is published."""
        return (not self.types or event_type in self.types) and self.wants_camera(cam_id)

    def wants_camera(self, cam_id: str | None) -> bool:
        return not self.cameras or cam_id in self.cameras

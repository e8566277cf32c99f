"""The sections of settings.toml that describe sinks."""

import base64
import binascii
import re
import secrets
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, field_validator

from pipeline.base.tls import TlsVerify
from pipeline.base.urls import split_url

DELIVERED_TYPES = (
    "visit.started",
    "visit.updated",
    "visit.ended",
    "person.created",
    "person.renamed",
    "person.merged",
    "person.split",
    "person.erased",
    "camera.down",
    "camera.up",
    "store.degraded",
    "store.healthy",
    "box.started",
    "rule.matched",
)
"""The types of events that sinks deliver, beside `test`."""


def _are_types(types: tuple[str, ...]) -> tuple[str, ...]:
    if unknown := sorted(set(types) - set(DELIVERED_TYPES)):
        raise ValueError(f"unknown type {unknown[0]!r}; known: {', '.join(DELIVERED_TYPES)}")
    return types


EventTypes = Annotated[tuple[str, ...], AfterValidator(_are_types)]
MIN_SECRET_BYTES = 16
SECRET_PREFIX = "whsec_"  # noqa: S105 - of Standard Webhooks, no secret


def new_secret() -> str:
    """A random secret for signatures."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


class WebhookSettings(BaseModel):
    """One entry of [[webhooks]]."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,48}$")]
    url: SecretStr
    """The path of a webhook's URL often is a password, so all of it is hidden."""
    secret: SecretStr
    previous_secret: SecretStr = SecretStr("")
    """During a rotation: requests are signed with both secrets."""
    types: EventTypes = ()
    """Empty: all types."""
    cameras: tuple[str, ...] = ()
    """Ids; empty: all cameras, and events without a camera."""
    rules: tuple[str, ...] = ()
    """Names of watch rules: of `rule.matched` only events of these; empty: all."""
    tls_verify: TlsVerify = True
    timeout_seconds: Annotated[float, Field(ge=0.1, le=60)] = 10
    give_up_hours: Annotated[float, Field(ge=0, le=168)] = 24
    enabled: bool = True

    @field_validator("url")
    @classmethod
    def _is_a_web_address(cls, url: SecretStr) -> SecretStr:
        text = url.get_secret_value()
        if not text.startswith(("http://", "https://")):
            raise ValueError("expected http://… or https://…")
        if re.search(r"[\s\x00-\x1f\x7f]", text) or len(text) > 2000:
            raise ValueError("expected a URL without spaces, of up to 2000 characters")
        split_url(text)
        if not urlsplit(text).hostname:
            raise ValueError("expected a host, as in https://host/path")
        return url

    @field_validator("secret", "previous_secret")
    @classmethod
    def _is_a_secret(cls, secret: SecretStr) -> SecretStr:
        text = secret.get_secret_value()
        if not text:
            return secret
        try:
            key = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
        except (binascii.Error, ValueError):
            raise ValueError(
                "expected whsec_ and base64, for example from `openssl rand -base64 32`"
            ) from None
        if len(key) < MIN_SECRET_BYTES:
            raise ValueError(f"expected base64 of at least {MIN_SECRET_BYTES} bytes, not of {len(key)}")
        return secret

    @field_validator("secret")
    @classmethod
    def _is_there(cls, secret: SecretStr) -> SecretStr:
        if not secret.get_secret_value():
            raise ValueError("expected whsec_ and base64, for example from `openssl rand -base64 32`")
        return secret

    def wants(self, event_type: str, cam_id: str | None, rule: str | None = None) -> bool:
        """Whether the webhook gets an event of this type, camera and watch rule."""
        return (
            (not self.types or event_type in self.types)
            and (not self.cameras or cam_id in self.cameras)
            and (not self.rules or rule is None or rule in self.rules)
        )

"""Webhooks that commands and the API add. MongoDB has the settings; URL and secrets stay on this box."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

import structlog
from bson import ObjectId
from pydantic import SecretStr, ValidationError

from daemon.config.camera_secrets import CameraSecrets
from daemon.config.secret_references import SecretError
from daemon.events.sinks.settings import WebhookSettings
from daemon.events.webhook_workers import WEBHOOKS
from store import ConflictError, Context
from store.mongo.named_documents import NamedDocuments

log = structlog.get_logger(__name__)

SECRETS = {"url": "url", "secret": "secret", "previous_secret": "old"}
"""Keys of a webhook, and the ends of the names under which they are kept."""


class AddedWebhooks:
    """The webhooks of one box. Methods raise StoreError if MongoDB does not answer."""

    def __init__(self, data_dir: Path) -> None:
        self._secrets = CameraSecrets(data_dir)
        self._reported: set[str] = set()

    async def all(self, ctx: Context, owner: ObjectId) -> Sequence[WebhookSettings]:
        """Those that are valid; the log names the others, once."""
        prefix, found = f"{ctx.box}/", []
        for key, content in (await self._documents(ctx, owner).all()).items():
            if not key.startswith(prefix):
                continue
            name = key.removeprefix(prefix)
            try:
                secrets = {one: self._secrets.get(_secret(name, one)) for one in ("url", "secret")}
                with contextlib.suppress(SecretError):
                    secrets["previous_secret"] = self._secrets.get(_secret(name, "previous_secret"))
                found.append(WebhookSettings.model_validate({**content, **secrets, "name": name}))
            except (SecretError, ValidationError) as error:
                reason = str(error) if isinstance(error, SecretError) else error.errors()[0]["msg"]
                if name not in self._reported:
                    log.error("an added webhook is not used", sink=name, reason=reason)
                self._reported.add(name)
        return found

    async def add(self, ctx: Context, owner: ObjectId, webhook: WebhookSettings) -> None:
        """
        Raises:
            ConflictError: the name is taken.
        """
        content = webhook.model_dump(mode="json", exclude={"name", *SECRETS})
        values: dict[str, SecretStr] = {one: getattr(webhook, one) for one in SECRETS}
        documents, key = self._documents(ctx, owner), f"{ctx.box}/{webhook.name}"
        if await documents.get(key) is not None:
            raise ConflictError(f"the webhook {webhook.name} exists already")
        for one, value in values.items():
            if value.get_secret_value():
                self._secrets.put(_secret(webhook.name, one), value.get_secret_value())
        await documents.add(key, content)  # the last step: the daemon reads it at once

    async def remove(self, ctx: Context, owner: ObjectId, name: str) -> bool:
        """Whether it was there."""
        removed = await self._documents(ctx, owner).remove(f"{ctx.box}/{name}")
        for one in SECRETS:
            self._secrets.forget(_secret(name, one))
        return removed

    @staticmethod
    def _documents(ctx: Context, owner: ObjectId) -> NamedDocuments:
        return NamedDocuments(ctx.database, WEBHOOKS, owner)


def _secret(name: str, part: str) -> str:
    return f"{name}.hook-{SECRETS[part]}"

"""Where a webhook of the settings is sent, and how its receiver is verified."""

import httpx

from daemon.errors import SettingsError
from daemon.events.sinks.settings import WebhookSettings
from daemon.events.sinks.webhook import WebhookTarget
from pipeline.base.tls import ca_file, client_context


def webhook_target(webhook: WebhookSettings) -> WebhookTarget:
    """What the sink of a webhook needs.

    Raises:
        SettingsError: no request can be made to the URL, or the CA certificates file cannot be used.
    """
    url = webhook.url.get_secret_value()
    if not _is_usable(url):
        raise SettingsError([f"webhooks.{webhook.name}.url: expected a URL to which a request can be made"])
    secrets = (webhook.secret.get_secret_value(), webhook.previous_secret.get_secret_value())
    try:
        tls = client_context(webhook.tls_verify) if url.startswith("https://") else True
    except OSError as error:
        path = ca_file(webhook.tls_verify)
        problem = f"the CA certificates file {path} cannot be used ({error.strerror or error})"
        raise SettingsError([f"webhooks.{webhook.name}.tls_verify: {problem}"]) from error
    return WebhookTarget(webhook.name, url, tuple(filter(None, secrets)), webhook.timeout_seconds, tls)


def _is_usable(url: str) -> bool:
    """Whether the HTTP client accepts the host, which it decodes, and the port."""
    try:
        parsed = httpx.URL(url)
        return bool(parsed.host) and (parsed.port or 1) < 65536
    except (httpx.InvalidURL, UnicodeError):
        return False

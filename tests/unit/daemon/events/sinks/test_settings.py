"""[[webhooks]]: what is accepted, and what a mistake is answered with."""

import base64
from typing import Any

import pytest
from pydantic import ValidationError

from daemon.config.settings import Settings
from daemon.errors import SettingsError
from daemon.events.sinks.settings import WebhookSettings
from daemon.events.sinks.webhook_target import webhook_target

SECRET = "whsec_" + base64.b64encode(bytes(range(24))).decode()
WEBHOOK = {"name": "ntfy", "url": "https://ntfy.example/facend", "secret": SECRET}


def webhook(**changes: object) -> WebhookSettings:
    return WebhookSettings.model_validate({**WEBHOOK, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"url": "ftp://ntfy.example"}, "expected http"),
        ({"url": "https://ntfy.example/a b"}, "without spaces"),
        ({"url": "https:///x"}, "expected a host"),
        ({"secret": ""}, "openssl rand"),
        ({"secret": "whsec_!!"}, "openssl rand"),
        ({"secret": "whsec_AAAA"}, "at least 16 bytes, not of 3"),
        ({"previous_secret": "abc"}, "openssl rand"),
        ({"types": ["visit.starts"]}, "unknown type 'visit.starts'; known: visit.started"),
        ({"name": "a b"}, "pattern"),
        ({"timeout_seconds": 0}, "greater than"),
        ({"give_up_hours": 1000}, "less than"),
        ({"urls": "x"}, "not permitted"),
    ],
)
def test_a_mistake_is_named(changes: dict[str, object], message: str) -> None:
    """Each one says what was expected, and never shows a secret."""
    with pytest.raises(ValidationError) as error:
        webhook(**changes)
    assert message in str(error.value)
    assert SECRET not in str(error.value)


def test_two_webhooks_need_two_names() -> None:
    """A name is the webhook's in metrics, in the store and in commands."""
    with pytest.raises(ValidationError, match="used twice: ntfy"):
        Settings.model_validate({"webhooks": [WEBHOOK, WEBHOOK]})


@pytest.mark.parametrize(
    ("filters", "event", "wanted"),
    [
        ({}, ("visit.started", "door"), True),
        ({}, ("box.started", None), True),
        ({"types": ["camera.down"]}, ("camera.down", "door"), True),
        ({"types": ["camera.down"]}, ("camera.up", "door"), False),
        ({"cameras": ["door"]}, ("visit.ended", "door"), True),
        ({"cameras": ["door"]}, ("visit.ended", "yard"), False),
        ({"cameras": ["door"]}, ("box.started", None), False),
        ({"rules": ["night"]}, ("rule.matched", "door", "night"), True),
        ({"rules": ["night"]}, ("rule.matched", "door", "day"), False),
        ({"rules": ["night"]}, ("visit.started", "door", None), True),
    ],
)
def test_filters(filters: dict[str, object], event: tuple[Any, ...], wanted: bool) -> None:
    """Types, cameras and rules are all required to match where they are set."""
    assert webhook(**filters).wants(*event) is wanted


@pytest.mark.parametrize("host", ["h:0x5", "xn--", "127.0.0.1:99999"])
def test_a_url_to_which_no_request_can_be_made_is_refused(host: str) -> None:
    """At the start, not at the first delivery; the error does not show the path."""
    with pytest.raises(SettingsError, match=r"webhooks\.ntfy\.url: expected a URL") as error:
        webhook_target(webhook(url=f"http://{host}/password"))
    assert "password" not in str(error.value)

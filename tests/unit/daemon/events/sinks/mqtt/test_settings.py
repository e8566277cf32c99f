"""[mqtt]: what is accepted, and what a mistake is answered with."""

import pytest
from pydantic import ValidationError

from daemon.config.settings import Settings
from daemon.errors import SettingsError
from daemon.events.sinks.mqtt.settings import MqttSettings
from daemon.events.sinks.mqtt.sink import broker_of
from daemon.events.sinks.mqtt.topics import Topics

TOPICS = Topics("facend", "homeassistant", "box")


@pytest.mark.parametrize(
    ("url", "address", "tls"),
    [
        ("mqtts://broker.example", ("broker.example", 8883), True),
        ("mqtt://127.0.0.1", ("127.0.0.1", 1883), False),
        ("mqtts://[::1]:9/", ("::1", 9), True),
    ],
)
def test_an_address(url: str, address: tuple[str, int], tls: bool) -> None:
    """The scheme decides on TLS and the usual port."""
    settings = MqttSettings(url=url)
    assert (settings.address, settings.tls, settings.enabled) == (address, tls, True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"url": "broker.example"}, "expected mqtts://host"),
        ({"url": "http://broker.example"}, "expected mqtts://host"),
        ({"url": "mqtt://"}, "expected a host"),
        ({"url": "mqtt://h/topic"}, "expected a host and nothing behind it"),
        ({"url": "mqtt://anna:hidden@h"}, "see mqtt.user and mqtt.password"),
        ({"url": "mqtt://h:99999"}, "port"),
        ({"password": "hidden"}, "a password needs mqtt.user"),
        ({"client_certificate": "/c.pem"}, "expected both"),
        ({"url": "mqtts://h", "client_certificate": "c", "client_key": "k"}, "absolute paths"),
        ({"url": "mqtt://h", "client_certificate": "/c", "client_key": "/k"}, "needs TLS"),
        ({"base_topic": "a/#"}, "without spaces"),
        ({"base_topic": "/a"}, "no empty level"),
        ({"base_topic": "$SYS"}, "does not begin with $"),
        ({"types": ["visit.starts"]}, "unknown type 'visit.starts'; known: visit.started"),
        ({"tls_verify": "authority.pem"}, "absolute path of a PEM file"),
    ],
)
def test_a_mistake_is_named(changes: dict[str, object], message: str) -> None:
    """Each one says what was expected, and never shows a password."""
    with pytest.raises(ValidationError) as error:
        MqttSettings.model_validate(changes)
    assert message in str(error.value)
    assert "hidden" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tls_verify": "/no/such.pem"}, "mqtt.tls_verify: the CA file /no/such.pem cannot be used"),
        (
            {"client_certificate": "/no/such.pem", "client_key": "/no/such.key"},
            "mqtt.client_certificate: certificate and key cannot be used",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_an_error_at_the_start(
    changes: dict[str, object], message: str
) -> None:
    """Not at the first connection."""
    with pytest.raises(SettingsError, match=message):
        broker_of(MqttSettings.model_validate({"url": "mqtts://h", **changes}), TOPICS)


def test_no_webhook_has_the_name_of_the_sink() -> None:
    """The name stands for one sink in the store and in metrics."""
    webhook = {"name": "mqtt", "url": "http://h/", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
    with pytest.raises(ValidationError, match="mqtt is the name of the MQTT sink"):
        Settings.model_validate({"webhooks": [webhook]})

import json
import random
import string
from urllib.parse import quote

import pytest

from pipeline.base.redaction import KnownSecrets, redact, redact_options, redact_text, secret_places
from pipeline.base.secret_names import is_secret_name

SECRET = "hunter2SECRET"  # noqa: S105 - looked for in what is shown


@pytest.mark.parametrize(
    "name",
    [
        *("password", "Passwort", "dbPassword", "pass", "pwd", "PASSWD", "pin", "psk", "wifi_psk", "secret"),
        *("client-secret", "token", "access_token", "tokens", "apiKey", "api_key", "X-API-Key", "APIKEY"),
        *("Authorization", "cookie", "Set-Cookie", "session_id", "bearer", "credentials", "signature"),
        *("private_key", "passphrase", "otp", "jwt", "webhook", "dsn", "meta.password", "password.x"),
    ],
)
def test_names_of_secrets_are_known_in_every_spelling(name: str) -> None:
    """Snake, camel and kebab case, upper case, and dotted paths."""
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *("passenger", "compass", "keyframes", "monkey", "author", "design", "url", "cameras", "token_file"),
        *("pinned", "timeout_seconds", "password_secret", "secret_name", "least_score", "bypass", "sidewalk"),
    ],
)
def test_ordinary_names_are_no_secrets(name: str) -> None:
    """Words that only contain the letters of one, and where a secret lies rather than what it is."""
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    "option",
    [
        {"api_key": SECRET},
        {"pass": SECRET},
        {"url": f"https://hooks.example/T00/{SECRET}"},
        {"url": f"https://hooks.example/?x={SECRET}"},
        {"dsn": f"postgres://u:{SECRET}@h/db"},
        {"database": f"postgres://u:{SECRET}@h/db"},
        {"connection": f"Server=h;User=u;Password={SECRET}"},
        {"headers": {"Authorization": f"Bearer {SECRET}"}},
        {"headers": [f"X-Api-Key: {SECRET}"]},
        {"headers": [["X-Api-Key", SECRET]]},
        {"headers": [{"name": "X-Api-Key", "value": SECRET}]},
        {"tokens": [SECRET, SECRET]},
        {"token": {"a": {"b": [SECRET]}}},
        {"secrets": [{"door": SECRET}]},
        {"chat": f"123456:{SECRET}"},
        {"anything": SECRET},
        {"pin": 123456},
        {"misspelt_pasword": SECRET},
    ],
)
def test_options_of_plugins_show_nothing_that_may_be_a_secret(option: dict[str, object]) -> None:
    """Whatever the key is called, and however deep it lies."""
    shown = json.dumps(redact_options(option))
    assert SECRET not in shown
    assert "123456" not in shown
    assert "***" in shown


def test_options_that_are_plain_are_shown() -> None:
    """`facend check` remains of use: numbers, names, switches, folders and hosts."""
    plain = {
        "cameras": ["door", "hall_2"],
        "seconds": 10,
        "least_score": -2.5,
        "on": True,
        "folder": "/var/lib/doors",
        "host": "relay.local",
        "url": "http://relay.local",
        "text": "Somebody is at the door",
    }
    assert redact_options(plain) == plain


@pytest.mark.parametrize(
    "text",
    [
        f"cannot open rtsp://u:{SECRET}@h/s",
        f"GET http://h/x?token={SECRET} failed",
        f"Authorization: Bearer {SECRET}",
        f"auth=Basic {SECRET}",
        f"password={SECRET}&x=1",
        f"token = '{SECRET}'",
        json.dumps({"password": SECRET}),
        str({"api_key": SECRET}),
        f"Server=h;Password={SECRET};x",
    ],
)
def test_free_text_loses_its_secrets(text: str) -> None:
    """Messages of libraries, of FFmpeg and of servers."""
    assert SECRET not in redact_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "settings.toml: cameras[1].password: a document holds no secret",
        "http.token has 5 characters",
        "expected a password",
        "Basic authentication is wanted",
        "duplicate key: 5",
        "camera=door state=red reason=refused",
    ],
)
def test_ordinary_messages_stay_as_they_are(text: str) -> None:
    """A line about a secret is no secret."""
    assert redact_text(text) == text


def test_200_random_secrets_of_known_origin_are_hidden_in_every_form() -> None:
    """Raw, percent-encoded, in JSON and in a repr, wherever they stand."""
    chance = random.Random(18)  # noqa: S311 - to be repeated
    known = KnownSecrets()
    secrets = ["".join(chance.choices(string.printable.strip(), k=chance.randint(8, 40))) for _ in range(200)]
    for secret in secrets:
        known.add(secret)
    for secret in secrets:
        for form in (secret, quote(secret, safe=""), quote(secret), json.dumps(secret)[1:-1], f"{[secret]}"):
            assert secret not in known.hide(f"before {form}, after")
            assert form.strip("[]'\"") not in known.hide(f"before {form}, after")


def test_values_under_secret_names_are_hidden_however_deep() -> None:
    """In lists, tables and numbers; empty values and switches are shown."""
    assert redact({"token": [SECRET, {"a": 5}], "meta": {"pin": 1234, "floor": "2"}, "password": ""}) == {
        "token": ["***", {"a": "***"}],
        "meta": {"pin": "***", "floor": "2"},
        "password": "",
    }


def test_places_of_secrets_are_named() -> None:
    """What a document must not hold is found by name and in URLs, and named without its value."""
    document = {
        "name": "me@example.org",
        "meta": {"Password": SECRET},
        "sub": [f"rtsp://u:{SECRET}@h/x"],
        "url": "rtsp://h/x",
        "password_secret": "hall",
        "pin": None,
    }
    assert list(secret_places(document)) == ["meta.Password", "sub"]

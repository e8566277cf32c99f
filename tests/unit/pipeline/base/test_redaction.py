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
def test_secret_names_are_recognised_in_every_spelling(name: str) -> None:
    """Snake, camel, kebab and upper case, and dotted paths."""
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *("passenger", "compass", "keyframes", "monkey", "author", "design", "url", "cameras", "token_file"),
        *("pinned", "timeout_seconds", "password_secret", "secret_name", "least_score", "bypass", "sidewalk"),
    ],
)
def test_ordinary_names_are_no_secrets(name: str) -> None:
    """Words that only contain the letters of a secret name, and names of places of secrets, such as
    password_file."""
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
        {"headers": [f"Authorization: Bearer {SECRET}", "***"]},
        {"argv": [f"--token={SECRET}", "***"]},
        {"argv": ["--pin", 123456]},
        {"urls": {f"https://bob:{SECRET}@h.example/": "***"}},
        {"doors": {SECRET: 5}},
        {"tokens": {SECRET: "bob"}},
        {"login": ["admin", SECRET]},
        {"field": {"id": "password", "text": SECRET}},
        {"field": {"name": "pin", "value": 123456}},
        {"smtp": f"bob:{SECRET}@mail"},
        {"host": f"bob:{SECRET}@mail"},
        {"cmd": f"curl -u bob:{SECRET} http://h/"},
        {"userpass": f"bob:{SECRET}"},
        {"door_code": 123456},
        {"doorCode": SECRET},
        {"private": SECRET},
        {"path": f"/hooks/{SECRET}9999"},
        {"greeting": "correct horse battery staple", "x": SECRET},
    ],
)
def test_options_of_plugins_hide_everything_that_may_be_a_secret(option: dict[str, object]) -> None:
    """For any key, at any depth."""
    shown = json.dumps(redact_options(option))
    assert SECRET not in shown
    assert "123456" not in shown
    assert "battery" not in shown
    assert "***" in shown


def test_harmless_options_are_shown() -> None:
    """`facend check` remains of use: numbers, names, switches, folders and hosts."""
    plain = {
        "cameras": ["door", "hall_2"],
        "seconds": 10,
        "least_score": -2.5,
        "on": True,
        "folder": "/var/lib/doors",
        "host": "relay.local",
        "url": "http://relay.local",
        "relay": {"address": "10.0.0.7:502", "topic": "house/door"},
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
        f"the password of camera hall is now {SECRET}, change it",
        f"password: {SECRET} (old)",
        f"Password for admin: {SECRET} (old)",
        f"with password {SECRET} for bob",
        f"wrong passphrase '{SECRET}'",
        f"the passwords are abc9 and {SECRET}.",
        f"Das Passwort lautet {SECRET}",
        f"the api key was {SECRET}",
        f"token is: `{SECRET}`",
        f"set the password to {SECRET}!",
        f"password := {SECRET}",
        f"password -> {SECRET}",
        f"token = '{SECRET}'",
        json.dumps({"password": SECRET}),
        str({"api_key": SECRET}),
        f"Server=h;Password={SECRET};x",
        f"x-api-key: {SECRET}",
        f"< Set-Cookie: a={SECRET}; path=/",
        f"Cookie: a=b; c={SECRET}",
        f"Proxy-Authorization: {SECRET}",
        f"auth failed for bob:{SECRET}",
        f"Login as 'bob:{SECRET}' refused",
        f"user: bob:{SECRET}",
        f"curl -u bob:{SECRET} http://h/",
        f"admin:{SECRET}@10.0.0.1:554",
        f"admin:a@b/{SECRET}@10.0.0.1:554",
        json.dumps({"pw": f'a"b {SECRET}'}),
        json.dumps({"pw": f"a\\b {SECRET}"}),
        json.dumps(json.dumps({"pw": f"a b {SECRET}"})),
        json.dumps({"tokens": ["a", SECRET]}),
        json.dumps({"token": {"a": {"b": "c"}, "d": SECRET}}),
        f'{{"pw": "a b {SECRET}',
        str({"pw": f"a'b\"c {SECRET}"}),
        f"password: {SECRET}",
        f"db.password: {SECRET}, retry",
        f"--password {SECRET}9 --verbose",
        f"['--token', '{SECRET}9']",
        f"password => '{SECRET}'",
        f"password={'x' * 70_000}{SECRET}",
        f"{'x' * 65_530} rtsp://u:{SECRET}@h/",
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
        "a user of camera.local:554",
        "logged in at 12:30:15",
        "mongodb at 10.0.0.1:27017 refused the login of bob",
        "https://docs.example/a-b",
        "the authors: bob and alice",
        "give --token-file PATH or --token TOKEN",
        "the password is wrong",
        "Password is required for rtsp://h/x",
        "the token is unknown, expired or revoked",
        "a user's token is printable text of 1 to 512 characters",
        "the password is 12 characters long",
        "the secret cam-2 is not on this box",
        "its password is stored on this box only; on box-2, run facend cameras edit",
        "set the password to something else",
        "pass 2a of the encoder",
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


def test_values_below_secret_names_are_hidden_at_any_depth() -> None:
    """In lists, tables and numbers; empty values and booleans are shown."""
    assert redact({"token": [SECRET, {"a": "b"}], "meta": {"pin": 1234, "floor": "2"}, "password": ""}) == {
        "token": ["***", {"a": "***"}],
        "meta": {"pin": "***", "floor": "2"},
        "password": "",
    }


def test_numbers_below_a_secret_name_are_shown() -> None:
    """Counters of a plugin with the name webhook are not secret."""
    status = {"unknown_webhook": {"calls": 3, "ok": True, "last": {"seconds": 1.5, "url": "http://h"}}}
    assert redact(status) == {
        "unknown_webhook": {"calls": 3, "ok": True, "last": {"seconds": 1.5, "url": "***"}}
    }


def test_a_value_after_a_secret_name_is_hidden() -> None:
    """In lists of headers, tables of fields, and command lines."""
    value = [
        ["X-Api-Key", "abc"],
        {"name": "token", "value": "abc", "at": 5},
        ["run", "--token", "abc", "-v"],
        ["password", "of the door"],
        ["door", "hall"],
    ]
    assert redact(value) == [
        ["X-Api-Key", "***"],
        {"name": "token", "value": "***", "at": 5},
        ["run", "--token", "***", "-v"],
        ["password", "***"],
        ["door", "hall"],
    ]


def test_keys_are_searched_for_secrets() -> None:
    """No entry is lost if two keys become equal."""
    value = {"rtsp://u:hunter2@h/live": 1, "rtsp://v:w@h/live": 2, 5: 3}
    assert redact(value) == {"rtsp://***@h/live": 1, "rtsp://***@h/live (2)": 2, 5: 3}
    assert list(secret_places({"meta": {f"rtsp://u:{SECRET}@h/": 1}})) == ["meta.rtsp://***@h/"]


PIECES = (
    "A",
    "a.",
    "a:",
    "a=",
    "a@",
    "a:b@",
    "Bearer ",
    "token:",
    "user a",
    "-a ",
    '"',
    "\\",
    " ",
    "http://h/a",
)


@pytest.mark.parametrize("piece", PIECES)
def test_long_texts_are_truncated_before_they_are_searched(piece: str) -> None:
    """To 64 KiB, so that the patterns do not take long."""
    for begin, end in (("x ", ""), ("x ", " ="), ("http://h/", '"@:')):
        shown = redact_text(f"{begin}{piece * (2**20 // len(piece))}{end}")
        assert len(shown) < 2 * 65_536
        assert "more characters" in shown


def test_the_commit_in_a_link_to_a_public_file_is_no_secret() -> None:
    """Errors about model files contain the URLs of the sources; other long paths are hidden."""
    link = f"https://github.com/opencv/opencv_zoo/raw/{'82b38c8f98' * 4}/models/face.onnx"
    assert redact_text(f"{link}: refused") == f"{link}: refused"
    assert "82b38" not in redact_text(f"https://hooks.example/{'82b38c8f98' * 4}/x")

"""Checks of MongoDB URLs: one message per fault, without secrets."""

from pathlib import Path
from urllib.parse import quote

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from store.mongo_url import check_mongodb_url, login_of
from store.settings import StoreSettings


@pytest.mark.parametrize(
    "url",
    [
        "mongodb://127.0.0.1:27017",
        "mongodb://one:1,two:2,[::1]:3/facend?replicaSet=rs&w=majority",
        "mongodb://me:p%40ss%2F@db.example/?authSource=admin",
        "mongodb://me@db.example/?authMechanism=MONGODB-X509&tls=true",
        "mongodb://%2Ftmp%2Fmongodb.sock",
        "mongodb+srv://me:geheim@cluster.example/",
    ],
)
def test_a_url_of_the_driver_is_accepted(url: str) -> None:
    """Several hosts, sockets, SRV names, and percent-encoded logins."""
    check_mongodb_url(url)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://db.example", "expected mongodb://host:port"),
        ("mongodb://me:ge@heim@db.example/", "percent-encode user and password .* or use store.user"),
        ("mongodb://me:ge/heim@db.example/", "percent-encode user and password"),
        ("mongodb://me:27/geheim@db.example/", "unclear where the password ends: percent-encode"),
        ("mongodb://me:ge:heim@db.example/", "percent-encode user and password"),
        ("mongodb://me:geheim%@db.example/", "percent-encode user and password"),
        ("mongodb://me:gehe im@db.example/", "percent-encode user and password"),
        ("mongodb+srv://me:ge@heim@cluster.example/", "percent-encode user and password"),
        ("mongodb+srv://me:ge%heim@cluster.example/", "percent-encode user and password"),
        ("mongodb+srv://me:geheim@cluster.example:27017/", "one host without a port"),
        (
            "mongodb://me:geheim@db.example/?tls=true&tlsCAFile=/not/there",
            "tlsCAFile: /not/there cannot be read",
        ),
        ("mongodb://me:geheim@db.example/?tlsCAFile=%2F", "tlsCAFile: / cannot be read .Is a directory"),
        (
            "mongodb+srv://db.example/?tlsCertificateKeyFile=/none",
            "tlsCertificateKeyFile: /none cannot be read",
        ),
        (
            "mongodb://db.example/?tls=true&tlsCAFile=/etc/hostname",
            "/etc/hostname contains no certificate in PEM",
        ),
        ("mongodb://db.example/?maxPoolSize=many", "refuses the value of the option maxPoolSize"),
        ("mongodb://db.example/?authMechanism=geheim", "refuses the value of the option authMechanism"),
        ("mongodb://db.example/?retryWrites", "retryWrites has no value"),
        ("mongodb://db.example:99999/", "expected mongodb://host:port"),
    ],
)
def test_the_error_names_the_fault_and_no_secret(url: str, message: str) -> None:
    """Unreadable certificates, logins that are not encoded, options, hosts."""
    with pytest.raises(ValueError, match=message) as caught:
        check_mongodb_url(url)
    with pytest.raises(ValidationError):
        StoreSettings.model_validate({"url": url})
    assert "ge" + "he" not in str(caught.value) and "heim" not in str(caught.value)


def test_a_file_with_a_certificate_is_accepted(tmp_path: Path) -> None:
    """A PEM file with an authority."""
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    check_mongodb_url(f"mongodb://db.example/?tls=true&tlsCAFile={quote(str(tmp_path / 'ca.pem'))}")


@given(password=st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1))
def test_a_password_beside_the_url_needs_no_encoding(password: str) -> None:
    """It is passed to the driver verbatim, and overrides that of the URL."""
    given = {"url": "mongodb://a:b@h/", "user": "me", "password": password}
    settings = StoreSettings.model_validate(given)
    assert settings.login == {"username": "me", "password": password}
    assert settings.shown_user == "me"
    assert "**********" in repr(settings.password)


def test_a_login_is_complete_and_has_a_server() -> None:
    """A password without a user, or without a server to check it, is an error."""
    with pytest.raises(ValidationError, match=r"store\.password needs store\.user"):
        StoreSettings.model_validate({"url": "mongodb://h/", "password": "x"})
    with pytest.raises(ValidationError, match=r"need store\.url"):
        StoreSettings.model_validate({"user": "me", "password": "x"})
    assert StoreSettings.model_validate({"url": "mongodb://me@h/", "password": "x"}).shown_user == "me"
    assert login_of("mongodb://h/") is None

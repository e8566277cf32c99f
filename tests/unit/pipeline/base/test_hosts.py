"""Hosts and ports of URLs: exactly those that resolvers and sockets accept."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base.hosts import split_authority
from pipeline.base.urls import UrlError


@pytest.mark.parametrize(
    ("authority", "host", "port"),
    [
        ("camera", "camera", None),
        ("camera.local:554", "camera.local", 554),
        ("under_score-1.lan.", "under_score-1.lan.", None),
        ("192.0.2.1:8554", "192.0.2.1", 8554),
        ("[::1]", "::1", None),
        ("[2001:db8::5]:554", "2001:db8::5", 554),
        ("[fe80::1%eth0]:554", "fe80::1%eth0", 554),
        ("bücher.example", "bücher.example", None),
    ],
)
def test_valid_hosts_are_split(authority: str, host: str, port: int | None) -> None:
    assert split_authority(authority) == (host, port)


@pytest.mark.parametrize(
    "authority",
    [
        *("", ":554", "[]", "[", "[::1", "::1", "::1]", "[127.0.0.1]", "[127.0.0.1]:554", "[camera]:554"),
        *("[::1]554", "[::1]x", "[::1]:", "camera:", "camera:x", "camera:0", "camera:65536", "camera:-1"),
        *("camera:٥٥٤", "300.0.0.1", "1.2.3", "1.2.3.4.5", "a..b", ".a", "-a", "a-", "a b", "a/b", "a@b"),
        *("x" * 64, ".".join(["x" * 60] * 5), "a\\b", "a%20b", "a\0b", "a\nb", "xn--\ud800"),
    ],
)
def test_invalid_hosts_are_refused(authority: str) -> None:
    """The error does not contain the URL."""
    with pytest.raises(UrlError) as caught:
        split_authority(authority)
    assert len(authority) < 6 or authority not in str(caught.value)


@given(st.text(max_size=20) | st.text("[]:.0123456789abcdef%-", max_size=20))
def test_any_text_is_accepted_or_refused_with_a_url_error(authority: str) -> None:
    """An accepted host can be passed to a socket, which then raises network errors only."""
    try:
        host, port = split_authority(authority)
    except UrlError:
        return
    try:
        socket.getaddrinfo(host, port, flags=socket.AI_NUMERICHOST)
    except OSError:
        return

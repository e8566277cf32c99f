"""Digest and Basic authentication of RTSP and HTTP servers."""

import pytest

from cameras.source.authentication import Login, challenges


def authorization(*headers: str, method: str = "GET", uri: str = "/dir/index.html") -> str | None:
    login = Login("Mufasa", "Circle of Life")
    assert login.accept(challenges(headers))
    return login.authorization(method, uri)


def test_digest_matches_the_example_of_rfc_7616(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 7616, 3.9.1, with both algorithms."""
    nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
    monkeypatch.setattr("secrets.token_hex", lambda _: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ")
    for algorithm, response in (
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ):
        realm = 'realm="http-auth@example.org", qop="auth, auth-int"'
        offered = f'Digest {realm}, algorithm={algorithm}, nonce="{nonce}"'
        assert f'response="{response}"' in str(authorization(offered))


def test_digest_without_qop_follows_rfc_2069() -> None:
    """Most cameras offer no qop."""
    header = authorization('Digest realm="cam", nonce="abc"', method="DESCRIBE", uri="rtsp://h/s")
    assert header is not None and "nc=" not in header and "algorithm" not in header


def test_several_challenges_may_share_a_header() -> None:
    """Commas separate both challenges and parameters."""
    offered = challenges(['Digest realm="a, b", nonce="x", algorithm=SHA-256, Basic realm="c"', "Negotiate"])
    assert [challenge.name for challenge in offered] == ["Digest SHA-256", "Basic", "Negotiate"]
    assert offered[0].parameters["realm"] == "a, b"


def test_unsupported_challenges_are_ignored() -> None:
    """In any order; if all are unsupported, accept returns False."""
    assert str(authorization("Negotiate", 'Digest realm="a", nonce="x", algorithm=FOO', "Basic")).startswith(
        "Basic "
    )
    assert not Login("a", "b").accept(challenges(["Bearer", 'Digest algorithm=FOO, nonce="x"']))


def test_the_nonce_count_grows_with_each_request() -> None:
    """Servers refuse a count that was already used."""
    login = Login("a", "b")
    login.accept(challenges(['Digest realm="r", nonce="n", qop="auth"']))
    assert ["nc=00000001" in str(login.authorization("OPTIONS", "u")) for _ in range(2)] == [True, False]

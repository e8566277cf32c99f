"""References in the login of a URL are percent-encoded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.config.secret_references import resolve_references
from pipeline.base.urls import split_url
from store.mongo_url import check_mongodb_url


@given(
    user=st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1),
    password=st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1),
    scheme=st.sampled_from(["mongodb", "mongodb+srv", "rtsp", "http"]),
)
def test_a_login_from_references_reaches_its_server_unchanged(user: str, password: str, scheme: str) -> None:
    """Whatever it is made of; only a text that is percent-encoded already is decoded."""
    template = f"{scheme}://${{env:USER}}:${{env:PASSWORD}}@host/path"
    url = str(resolve_references(template, {"USER": f"{user}@", "PASSWORD": f"{password}@"}, []))
    assert split_url(url) == (f"{scheme}://host/path", f"{user}@", f"{password}@", None)
    if scheme.startswith("mongodb"):
        check_mongodb_url(url)


@pytest.mark.parametrize(
    ("template", "secret", "filled"),
    [
        ("mongodb://u:${env:S}@h/", "p%40ss", "mongodb://u:p%40ss@h/"),
        ("mongodb://u:${env:S}@h/", "p@s:s", "mongodb://u:p%40s%3As@h/"),
        ("mongodb://u:a${env:S}b@h/", "100%", "mongodb://u:a100%25b@h/"),
        ("mongodb://${env:S}@h/", "u:p/w", "mongodb://u:p%2Fw@h/"),
        ("mongodb://u:p@${env:S}/db", "one:1,two:2", "mongodb://u:p@one:1,two:2/db"),
        ("https://${env:S}/hook", "host:1", "https://host:1/hook"),
        ("rtsp://h/user=a_password=${env:S}", "p@ss", "rtsp://h/user=a_password=p@ss"),
        ("${env:S}", "rtsp://u:p@h/", "rtsp://u:p@h/"),
    ],
)
def test_only_what_needs_it_is_encoded(template: str, secret: str, filled: str) -> None:
    """Encoded secrets, hosts, paths and whole URLs stay as they are."""
    assert resolve_references(template, {"S": secret}, []) == filled

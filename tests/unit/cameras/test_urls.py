import os
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from cameras.settings import CameraSettings
from cameras.urls import UrlKind, check_url, host_of, kind_of, local_path
from pipeline.base.redaction import redact_text
from pipeline.base.urls import AMBIGUOUS, UrlError, mask_url, mask_urls, split_url


@pytest.mark.parametrize(
    ("url", "public", "user", "password"),
    [
        ("rtsp://host/path", "rtsp://host/path", None, None),
        ("rtsp://cam@host/path", "rtsp://host/path", "cam", None),
        ("rtsp://cam:pw@host:554/path", "rtsp://host:554/path", "cam", "pw"),
        ("rtsp://c%40m:p%3Aw%2F@host/path", "rtsp://host/path", "c@m", "p:w/"),
        ("rtsp://cam:p@ss:w#rd?@host/path", "rtsp://host/path", "cam", "p@ss:w#rd?"),
        ("rtsp://cam:p/w@host/path", "rtsp://host/path", "cam", "p/w"),
        ("rtsp://cam:100%@host/path", "rtsp://host/path", "cam", "100%"),
        ("rtsp://cam:pw@[fe80::1]:554/path", "rtsp://[fe80::1]:554/path", "cam", "pw"),
        ("rtsp://[fe80::1]:554/a@b", "rtsp://[fe80::1]:554/a@b", None, None),
        ("rtsp://10.0.0.2:554/a@b", "rtsp://10.0.0.2:554/a@b", None, None),
        ("rtsp://cam:pw@10.0.0.2/a%40b", "rtsp://10.0.0.2/a%40b", "cam", "pw"),
        ("rtsp://cam%3Apw@host/path", "rtsp://host/path", "cam", "pw"),
        ("file:///a:b@c/d.mp4", "file:///a:b@c/d.mp4", None, None),
        ("/clips/a:b@c.mp4", "/clips/a:b@c.mp4", None, None),
    ],
)
def test_user_and_password_are_separated_from_a_url(
    url: str, public: str, user: str | None, password: str | None
) -> None:
    """Percent-encoded or not; both are returned decoded."""
    assert split_url(url) == (public, user, password, None)


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("rtsp://cam:pw@host/path", "rtsp://***@host/path"),
        ("rtsp://host/path", "rtsp://host/path"),
        ("http://host/video?usr=admin&pwd=pw", "http://host/video?***"),
        ("http://cam:pw@host/video?channel=1&token=pw", "http://***@host/video?***"),
        ("rtsp://host:554/user=admin_password=pw_channel=1.sdp?real_stream", "rtsp://host:554/***"),
        ("rtsp://host/channel=1_password=pw", "rtsp://host/***"),
        ("http://host/video?user_name=me", "http://host/video?***"),
        ("rtsp://cam@host/a/user=x&pwd=pw", "rtsp://***@host/***"),
        ("rtsp://host/user_1/key=frames", "rtsp://host/***"),
        ("rtsp://host/password/stream=1", "rtsp://host/password/stream=1"),
        ("http://host/video?channel=1&size=640", "http://host/video?channel=1&size=640"),
        ("ftp://cam:pw@host/path", "ftp://***@host/path"),
        ("rtsp:/cam:pw@host/path", "rtsp:/***@host/path"),
        ("rtsp:cam:pw@host/path", "rtsp:***@host/path"),
        ("http:/host/video?pwd=pw", "http:/host/video?***"),
        ("cam:pw@host/path", "cam:***@host/path"),
        ("the clip 1:b@c.mp4", "the clip 1:b@c.mp4"),
        ("rtsp//cam:pw@host/path", "rtsp//***@host/path"),
        ("rtsp;//cam:pw@host/path", "rtsp;//***@host/path"),
        ("rtsp://cam:pw", "rtsp://***"),
        ("rtsp://cam:pw%40host/path", "rtsp://***"),
        ("rtsp://cam:pw\uff20host/path", "rtsp://***"),
        ("rtsp://cam:cafe:pw/path", "rtsp://***"),
        ("rtsp://host/admin/pw/ch1", "rtsp://host/***"),
        ("http://host/admin/snapshot.jpg", "http://host/admin/snapshot.jpg"),
        ("rtsp://[fe80::1]:554/path", "rtsp://[fe80::1]:554/path"),
        ("rtsp://fe80::1/path", "rtsp://fe80::1/path"),
        ("rtsp://host:/path", "rtsp://host:/path"),
        ("mongodb://one:1,two:2/db", "mongodb://one:1,two:2/db"),
        ("1cam:pw@host/path", "***@host/path"),
        ("//cam:pw@host/path", "//***@host/path"),
        ("rtsp:\\\\cam:pw@host\\path", "rtsp:\\\\***@host\\path"),
        ("rtsp://admin:5541/pw@192.168.0.2/s", "rtsp://***@192.168.0.2/s"),
        ("rtsp://cam:pw@host/path@quality", "rtsp://***@quality"),
        ("rtsp://host/live/admin:pw", "rtsp://host/***"),
        ("rtsp://host/user/admin/password/pw/ch1", "rtsp://host/***"),
        ("rtsp://host/%70assword%3Dpw", "rtsp://host/***"),
        ("http://host/path;jsessionid=pw", "http://host/***"),
        ("rtsp://host/path#password=pw", "rtsp://host/path#***"),
        ("http://host/path?PASS:pw", "http://host/path?***"),
        ("http://host/path?u=admin&p=pw", "http://host/path?***"),
        ("rtsps://host:7441/q7Ew2rT9yU4iO1pA", "rtsps://host:7441/***"),
        ("rtsp://host/h264Preview_01_main", "rtsp://host/h264Preview_01_main"),
        ("http://host/?videoCodec=h264&keyframes=2", "http://host/?videoCodec=h264&keyframes=2"),
        ("mongodb://cam:pw@one:1,two:2/db", "mongodb://***@one:1,two:2/db"),
    ],
)
def test_a_masked_url_hides_the_login_and_secret_parameters(url: str, masked: str) -> None:
    """Also for unsupported schemes."""
    assert mask_url(url) == masked


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://admin:5541/x@192.168.0.2/s",
        "rtsp://cam:12345/6@host/s",
        "rtsp://cam:p@ss/w@host/s",
        "rtsp://cam:pw@host/user=x_password=y@z",
        "rtsp://cam:p@10.0.0.2/w@192.168.0.2/s",
        "rtsp://cam:p@localhost/w@host/s",
        "rtsp://cam:p@ss/w:rd#1@host/s",
    ],
)
def test_an_ambiguous_url_is_refused(url: str) -> None:
    """If the password may end at more than one @, the error says how to write it, without repeating the
    URL."""
    with pytest.raises(UrlError, match="percent-encode the password, or use user = and password ="):
        split_url(url)
    with pytest.raises(ValidationError) as caught:
        CameraSettings.model_validate({"id": "hall", "url": url})
    assert [error["loc"] for error in caught.value.errors()] == [("url",)]
    assert "admin" not in str(caught.value.errors())


@pytest.mark.parametrize("scheme", ["rtsp//", "rtsp;//", "//", "http.//"])
def test_a_mistyped_scheme_makes_no_file_of_a_login(scheme: str) -> None:
    """It is refused, and the error says how a camera's URL begins."""
    with pytest.raises(ValidationError, match="a camera's URL begins with rtsp://") as caught:
        CameraSettings.model_validate({"id": "hall", "url": f"{scheme}admin:S3cr3t@host/live"})
    assert "S3cr3t" not in str(caught.value)


LOGINS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=6, max_size=12)


@example("<uab://u>", "<p000://p>", "cam.example", "")
@given(
    user=LOGINS.map("<u{}u>".format),
    password=LOGINS.map("<p{}p>".format),
    host=st.sampled_from(["cam.example", "hall", "192.168.0.2", "[fe80::1]:554", "host:8554"]),
    path=st.sampled_from(["", "/", "/live?channel=1", "/a/b#c"]),
)
def test_an_unencoded_login_is_separated_completely_or_refused(
    user: str, password: str, host: str, path: str
) -> None:
    """It is never separated at a wrong character, and never shown in part."""
    url = f"rtsp://{user}:{password}@{host}{path}"
    for shown in (mask_url(url), mask_urls(f"cannot open {url}, 3 times"), mask_urls(f"tried ['{url}']")):
        assert not any(part in shown for part in ("<p", "p>", "<u", "u>"))
        assert host in shown
    try:
        parts = split_url(url)
    except UrlError:
        return
    name, _, secret = f"{user}:{password}".partition(":")
    assert parts == (f"rtsp://{host}{path}", unquote(name), unquote(secret), None)


PRINTABLE = st.characters(min_codepoint=0x20, max_codepoint=0x7E)
SENTENCES = [
    "{}",
    "{}: connection refused",
    "cannot open {}.",
    "tried ({}), 3 times",
    "tried ['{}']",
    'url = "{}"; no answer',
    "[rtsp @ 0x7f] method DESCRIBE failed for {}!",
]


@given(
    scheme=st.sampled_from(["rtsp", "rtsps", "http", "https"]),
    user=st.text(PRINTABLE, min_size=1, max_size=8).map(lambda user: user.replace(":", "_")),
    password=st.text(PRINTABLE, min_size=1, max_size=16),
    host=st.sampled_from(["cam.example", "hall", "192.168.0.2", "[fe80::1]", "münchen.example"]),
    port=st.sampled_from(["", ":554"]),
    path=st.sampled_from(["", "/", "/live?channel=1", "/a/b#c"]),
)
def test_any_login_is_separated_completely_or_refused_and_never_shown(
    scheme: str, user: str, password: str, host: str, port: str, path: str
) -> None:
    """A percent-encoded login is always accepted. Of an unencoded password, at most three characters are
    shown."""
    encoded = f"{scheme}://{quote(user, safe='')}:{quote(password, safe='')}@{host}{port}{path}"
    camera = CameraSettings.model_validate({"id": "hall", "url": encoded})
    assert (camera.user, camera.password) == (user, SecretStr(password))
    url = f"{scheme}://{user}:{password}@{host}{port}{path}"
    shown = [mask_url(url), *(redact_text(text.format(url)) for text in SENTENCES)]
    try:
        camera = CameraSettings.model_validate({"id": "hall", "url": url})
    except ValidationError as error:
        shown.append(str(error.errors(include_url=False)))
    else:
        assert camera.password == SecretStr(unquote(password))
        shown += [camera.url, camera.masked_url, str(camera.model_dump(mode="json")["password"])]
    harmless = "".join([*SENTENCES, url.replace(f"{user}:{password}", "***"), AMBIGUOUS, "**********"])
    pieces = {password[place : place + 4] for place in range(len(password) - 3)}
    assert not [
        (piece, text) for piece in pieces for text in shown if piece in text and piece not in harmless
    ]


@given(password=st.text(min_size=6, alphabet=st.characters(min_codepoint=0x21, max_codepoint=0x2FF)))
def test_no_percent_encoded_password_survives_masking(password: str) -> None:
    """The separated parts are complete, and the masked URL does not contain the password."""
    encoded = quote(password, safe="")
    url = f"rtsp://cam:{encoded}@host:554/live?channel=1"
    assert split_url(url).password == password
    assert mask_url(url) == "rtsp://***@host:554/live?channel=1"


PARTS = st.lists(
    st.sampled_from(
        [
            *(
                "rtsp://",
                "rtsp:/",
                "http:",
                "file:",
                "//",
                "/",
                "@",
                ":",
                "?",
                "#",
                "%",
                "%00",
                "%ff",
                "[",
                "]",
            ),
            *(
                "cam",
                "host",
                "554",
                "²",
                "password=",
                "token=x",
                "&",
                ";",
                " ",
                "\n",
                "\0",
                "..",
                "/dev/video",
            ),
        ]
    )
    | st.text(max_size=3),
    max_size=12,
).map("".join)


@given(url=PARTS)
def test_any_url_is_accepted_or_refused_with_a_url_error(url: str) -> None:
    """No other exception is raised, and an accepted URL can be validated again from its public part."""
    mask_url(url)
    try:
        public = split_url(url).public
        check_url(public)
    except UrlError as error:
        assert len(str(error).splitlines()) == 1
        return
    if kind_of(public) in (UrlKind.RTSP, UrlKind.HTTP):
        assert host_of(public)
    else:
        assert local_path(public).name


@given(
    before=st.sampled_from(["rtsp://", "rtsp:/", "rtsps:", "http://", "gopher://", ""]),
    password=st.text(min_size=4, max_size=12, alphabet=st.characters(exclude_categories=["Cs"])),
    after=st.sampled_from(["host/live", "host:554", "host:x/", "", "host/?pwd=1", "[::1]/", "ho st/"]),
    wrong=st.sampled_from([{}, {"id": "a b"}, {"max_fps": -1}, {"colour": 1}, {"user": ""}, {"loop": []}]),
)
def test_no_password_of_a_camera_is_ever_shown(
    before: str, password: str, after: str, wrong: dict[str, object]
) -> None:
    """Neither in the settings, their masked URL or dump, nor in validation errors."""
    secret = quote(f"<{password}>", safe="")
    try:
        camera = CameraSettings.model_validate(
            {"id": "hall", "url": f"{before}cam:{secret}@{after}", **wrong}
        )
    except ValidationError as error:
        shown = [str(error), str(error.errors())]
    else:
        shown = [repr(camera), camera.url, camera.masked_url, camera.model_dump_json()]
        assert secret in camera.connect_url()
    assert not any(form in text for form in (secret, f"<{password}>") for text in shown)


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("rtsp://host/", UrlKind.RTSP),
        ("RTSPS://host/", UrlKind.RTSP),
        ("https://host/", UrlKind.HTTP),
        ("file:clip.mp4", UrlKind.FILE),
        ("clips/a.mp4", UrlKind.FILE),
        ("/dev/video0", UrlKind.DEVICE),
    ],
)
def test_the_scheme_decides_the_kind_of_a_camera(url: str, kind: UrlKind) -> None:
    """Schemes are case-insensitive; a URL without a scheme is a file or a device."""
    check_url(url)
    assert kind_of(url) is kind


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://host/a", "the scheme ftp: is not supported; use rtsp://"),
        ("rtsp:host/a", "names no host"),
        ("rtsp:///a", "names no host"),
        ("rtsp://host:port/a", "port is not a number"),
        ("rtsp://host:99999/a", "port is not a number"),
        ("rtsp://host:²/a", "port is not a number"),
        ("rtsp:/cam:pw@host/a", "names no host"),
        ("rtsp://host/a b", "space"),
        ("", "has no file name"),
        ("file:///a%00b", "has no file name"),
        ("file://server/a.mp4", "must not name a host"),
    ],
)
def test_an_unusable_url_is_refused_with_one_line(url: str, message: str) -> None:
    """The line says what is wrong and does not repeat the URL."""
    with pytest.raises(UrlError, match=message) as caught:
        check_url(url)
    assert "\n" not in str(caught.value)


def test_file_urls_are_percent_decoded_and_paths_are_not() -> None:
    """A path may contain a percent sign, which a file: URL encodes as %25."""
    assert str(local_path("file:///a%20b.mp4")) == "/a b.mp4"
    assert str(local_path("file:a%20b.mp4")) == "a b.mp4"
    assert str(local_path("/a%20b.mp4")) == "/a%20b.mp4"


@pytest.mark.parametrize("name", [b"a#b?c%41;d&e.mp4", b"new\nline", b"caf\xe9.mp4", "Büro.mp4".encode()])
def test_a_path_converted_to_a_url_is_the_same_path_again(name: bytes) -> None:
    """For any bytes in a file name."""
    path = Path(os.fsdecode(b"/clips/" + name))
    assert local_path(path.as_uri()) == path
    assert local_path(str(path)) == path

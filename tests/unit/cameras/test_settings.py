import pytest
from pydantic import SecretStr, ValidationError

from cameras.settings import CameraSettings

PLAIN = "s3cr3t@/#?%"
FULL_URL = "rtsp://cam:s3cr3t%40%2F%23%3F%25@host:554/live"


def camera(**given: object) -> CameraSettings:
    return CameraSettings.model_validate({"id": "hall", "url": "rtsp://host/live", **given})


def test_a_password_in_the_url_becomes_a_secret() -> None:
    """Only connect_url() contains it, percent-encoded."""
    settings = camera(url=FULL_URL)
    assert settings.user == "cam"
    assert settings.password == SecretStr(PLAIN)
    assert settings.connect_url() == FULL_URL
    assert settings.masked_url == "rtsp://***@host:554/live"
    for shown in (repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json()):
        assert "s3cr3t" not in shown


@pytest.mark.parametrize(
    "url",
    [
        "http://host/video.cgi?usr=admin&pwd=s3cr3t",
        "rtsp://host:554/user=admin_password=s3cr3t_channel=1_stream=0.sdp?real_stream",
    ],
)
def test_a_secret_in_path_or_query_is_hidden_too(url: str) -> None:
    """Many HTTP cameras expect user and password in the query, many recorders in the path."""
    settings = camera(url=url)
    assert settings.connect_url() == url
    for shown in (repr(settings), settings.url, settings.masked_url, str(settings.model_dump())):
        assert "s3cr3t" not in shown


def test_the_settings_user_and_password_win_over_the_url() -> None:
    """A secret from a file or the environment replaces the one in the URL."""
    settings = camera(url=FULL_URL, user="other", password="better")  # noqa: S106 - a made-up one
    assert settings.connect_url() == "rtsp://other:better@host:554/live"


@pytest.mark.parametrize(
    ("given", "where", "message"),
    [
        ({"url": "ftp://cam:s3cr3t@host/a"}, "url", "scheme ftp: is not supported"),
        ({"url": "rtsp://cam:s3cr3t@host:x/a"}, "url", "port is not a number"),
        ({"url": "rtsp://cam:s3cr3t@/a"}, "url", "names no host"),
        ({"id": "front door"}, "id", "pattern"),
        ({"id": "x" * 45}, "id", "pattern"),
        ({"transport": "sctp"}, "transport", "'tcp' or 'udp'"),
        ({"pasword": "s3cr3t"}, "pasword", "Extra inputs are not permitted"),
        ({"password": "s3cr3t"}, "", "needs a user"),
        ({"roi": [[0.5, 0, 0.4, 1]]}, "roi", "left < right"),
        ({"roi": [[0, 0, 1, 1.5]]}, "roi", "fractions of the picture, 0 to 1"),
        ({"roi": 0.5}, "roi", "tuple"),
        ({"rot": [[[0, 0], [1, 1]]]}, "rot", "at least 3"),
        ({"min_score": float("-inf")}, "min_score", "finite"),
        ({"read_timeout_seconds": 0}, "read_timeout_seconds", "greater than or equal to 1"),
    ],
)
def test_an_error_names_the_key_and_contains_no_secret(
    given: dict[str, object], where: str, message: str
) -> None:
    """The error says what was expected, and does not show the password of the same camera."""
    with pytest.raises(ValidationError) as caught:
        camera(**given)
    problems = caught.value.errors(include_input=False)
    assert any(str(problem["loc"][0] if problem["loc"] else "") == where for problem in problems)
    assert any(message in problem["msg"] for problem in problems)
    assert "s3cr3t" not in str(caught.value)


def test_the_input_of_a_validation_error_contains_no_password() -> None:
    """The password is removed before the URL is validated."""
    with pytest.raises(ValidationError) as caught:
        camera(url="ftp://cam:s3cr3t@host/a")
    assert "s3cr3t" not in str(caught.value.errors())


def test_regions_are_rectangles_or_polygons() -> None:
    """Four numbers are a rectangle, three or more pairs a polygon; a list may contain both."""
    settings = camera(roi=[[0, 0, 0.5, 1], [[0, 0], [1, 0], [0.5, 1]]])
    assert settings.roi == ((0, 0, 0.5, 1), ((0, 0), (1, 0), (0.5, 1)))


def test_a_file_name_with_a_colon_is_opened_as_a_file() -> None:
    """FFmpeg would take the part before the colon for a protocol."""
    assert camera(url="./a:b.mp4").connect_url() == "file:a:b.mp4"
    assert camera(url="file:///clips/a%20b.mp4").connect_url() == "file:/clips/a b.mp4"
    assert camera(url="/dev/video0").connect_url() == "/dev/video0"


def test_settings_compare_by_value() -> None:
    """A camera is restarted only if its settings differ; a new password is a difference."""
    assert camera(url=FULL_URL) == camera(url=FULL_URL)
    assert camera(url=FULL_URL) != camera(url=FULL_URL.replace("s3cr3t", "0ther"))
    assert camera(url="http://h/a?pwd=1") != camera(url="http://h/a?pwd=2")

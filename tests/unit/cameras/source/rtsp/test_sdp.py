"""Rewriting session descriptions."""

import pytest

from cameras.source.rtsp.sdp import SessionDescription, rewrite

TWO_TYPES = """v=0
o=- 0 0 IN IP4 0.0.0.0
a=control:*
m=video 0 RTP/AVP 98 97 96
a=rtpmap:98 H265/90000
a=fmtp:98 profile-id=1
a=rtpmap:97 rtx/90000
a=rtpmap:96 H264/90000
a=fmtp:96 packetization-mode=1
a=control:track1
m=audio 0 RTP/AVP 8
a=control:rtsp://10.0.0.1/s/audio
"""


def rewritten(text: str = TWO_TYPES, payload_type: int | None = None) -> SessionDescription:
    return rewrite(text, "rtsp://camera/s/", "rtsp://127.0.0.1:9/x", payload_type)


def test_one_payload_type_is_kept() -> None:
    """The first that carries a stream; lines of the others are removed."""
    description = rewritten()
    assert "m=video 0 RTP/AVP 98\r\n" in description.text
    assert "rtpmap:96" not in description.text and "rtx" not in description.text
    video = description.media[0]
    assert (video.payload_type, video.alternatives) == (98, (96,))
    assert video.formats == ("H265 (98)", "H264 (96)")


def test_the_preferred_payload_type_is_kept_if_it_is_offered() -> None:
    """Otherwise the first."""
    assert rewritten(payload_type=96).media[0].payload_type == 96
    assert rewritten(payload_type=50).media[0].payload_type == 98


def test_control_urls_lead_to_the_relay() -> None:
    """The camera's URLs are stored: relative, absolute, and that of the session."""
    description = rewritten()
    assert [media.control for media in description.media] == [
        "rtsp://camera/s/track1",
        "rtsp://10.0.0.1/s/audio",
    ]
    assert description.control == "rtsp://camera/s/"
    assert "a=control:rtsp://127.0.0.1:9/x/0\r\n" in description.text
    assert "10.0.0.1" not in description.text and "a=control:*" not in description.text


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("rtsp://h/s", "rtsp://h/s/track1"),
        ("rtsp://h/s/", "rtsp://h/s/track1"),
        ("rtsp://h/s?channel=1", "rtsp://h/s?channel=1/track1"),
    ],
)
def test_relative_control_urls_are_appended(base: str, url: str) -> None:
    """Also to a query, as cameras expect."""
    assert rewrite(TWO_TYPES, base, "rtsp://l/x").media[0].control == url


def test_an_absolute_session_control_url_is_the_base_url() -> None:
    """If it is absolute."""
    description = rewritten(TWO_TYPES.replace("control:*", "control:rtsp://other/all/"))
    assert description.control == "rtsp://other/all/"
    assert description.media[0].control == "rtsp://other/all/track1"

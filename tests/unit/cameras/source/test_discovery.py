"""Parsing of WS-Discovery answers, and the recommended stream and advice for an ONVIF camera."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cameras.source.discovery import interface_addresses, parse_answer
from cameras.source.onvif import OnvifCamera, Profile, clock_text

ANSWER = """<?xml version="1.0"?><s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"
 xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing"
 xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery"><s:Body><d:ProbeMatches><d:ProbeMatch>
<a:EndpointReference><a:Address>urn:uuid:1</a:Address></a:EndpointReference><d:Types>{types}</d:Types>
<d:Scopes>{scopes}</d:Scopes><d:XAddrs>
 {addresses} </d:XAddrs></d:ProbeMatch></d:ProbeMatches></s:Body></s:Envelope>"""


@pytest.mark.parametrize(
    ("types", "scopes", "addresses", "expected"),
    [
        (
            "dn:NetworkVideoTransmitter",
            "",
            "http://h/x http://[fe80::1]/x",
            ("http://h/x", "http://[fe80::1]/x"),
        ),
        ("", "onvif://www.onvif.org/type/video_encoder", "http://h/x", ("http://h/x",)),
        ("", "", "http://h/onvif/device_service", ("http://h/onvif/device_service",)),
        ("wsdp:Device pub:Computer", "", "http://printer:5357/x", None),
        ("dn:NetworkVideoTransmitter", "", "soap.udp://h:3702", None),
    ],
)
def test_cameras_are_distinguished_from_other_devices(
    types: str, scopes: str, addresses: str, expected: tuple[str, ...] | None
) -> None:
    """By type, scope or address; computers and printers answer the same probes."""
    answer = ANSWER.format(types=types, scopes=scopes, addresses=addresses).encode()
    assert list(parse_answer(answer)) == ([] if expected is None else [("urn:uuid:1", expected)])


@given(st.binary(max_size=200) | st.text(max_size=80).map(lambda text: ANSWER.replace("Body", text).encode()))
def test_an_invalid_answer_is_ignored(answer: bytes) -> None:
    """No answer raises an exception, and XML entities are not expanded."""
    list(parse_answer(answer))
    assert list(parse_answer(b'<!DOCTYPE x [<!ENTITY a "b">]>' + ANSWER.encode())) == []


def test_the_loopback_address_is_among_the_interface_addresses() -> None:
    assert "127.0.0.1" in interface_addresses()


def profile(width: int, height: int, codec: str = "H264", **given: float) -> Profile:
    values = {"fps": 25.0, "keyframe_seconds": 2.0, **given}
    return Profile("p", codec, width, height, url="rtsp://h/", **values)


def camera(*profiles: Profile, clock: float = 0) -> OnvifCamera:
    return OnvifCamera("http://h/", "m", "m", "1", "s", clock, profiles)


def test_the_largest_stream_below_the_limit_is_recommended() -> None:
    """Full HD rather than 4K or a small stream; the smallest if all are too large; only supported codecs."""
    uhd, hd, small = profile(3840, 2160), profile(1920, 1080), profile(640, 360)
    assert camera(uhd, hd, small).recommended is hd
    assert camera(uhd, profile(2880, 1620)).recommended.width == 2880
    assert camera(profile(1920, 1080, "MPEG4"), small).recommended is small
    assert camera(profile(640, 480, "MPEG4")).recommended is None


def test_advice_names_each_unsuitable_setting_of_the_camera() -> None:
    """Resolution, key frames, frame rate and clock; none for suitable settings."""
    assert camera(profile(1920, 1080)).advice == ()
    poor = camera(profile(640, 360, fps=2.0, keyframe_seconds=10.0), clock=-3600.0)
    texts = "; ".join(poor.advice)
    for word in ("raise the resolution", "a key frame every 10 s", "2 frames per second", "NTP"):
        assert word in texts
    assert "codec" in camera().advice[0]
    assert clock_text(-3600).startswith("3600 s behind (this machine: ")
    assert clock_text(0.4) == "correct"

"""Cameras over TLS: certificates and host names are verified, for RTSP and HTTP."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import av
import pytest

from cameras.errors import Reason, SourceError
from cameras.settings import CameraSettings
from cameras.source.ffmpeg import FFmpegSource
from pipeline.base.tls import BUNDLES, ca_file
from tests.rtsp import require_rtsp_server, rtsp_server
from tests.tls_server import Authority, file_server, tls_server


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module", params=["https", "rtsps"])
def camera(request: pytest.FixtureRequest, clip: Path) -> Iterator[tuple[str, int, str]]:
    """Scheme, port without TLS, and path of a camera."""
    with ExitStack() as stack:
        if request.param == "https":
            yield "https", stack.enter_context(file_server(clip.parent)), clip.name
        else:
            require_rtsp_server()
            yield "rtsps", stack.enter_context(rtsp_server({"hall": clip})).port, "hall"


def opened(url: str, tls_verify: object) -> None:
    settings = {"id": "hall", "url": url, "user": "cam", "password": "s3cret-word", "tls_verify": tls_verify}
    FFmpegSource(CameraSettings.model_validate(settings)).close()


def test_a_certificate_of_a_trusted_ca_for_this_host_is_accepted(
    camera: tuple[str, int, str], authority: Authority
) -> None:
    """By address and by name."""
    scheme, port, path = camera
    with tls_server(authority.good, port) as tls_port:
        for host in ("127.0.0.1", "localhost"):
            opened(f"{scheme}://{host}:{tls_port}/{path}", str(authority.file))


@pytest.mark.parametrize(
    ("certificate", "trusted", "why"),
    [
        ("good", "system", "unable to get local issuer|self.signed"),
        ("good", "another", "unable to get local issuer|self.signed"),
        ("good", "missing", "cannot be read"),
        ("of_another_host", "authority", "not valid for '127.0.0.1'"),
        ("expired", "authority", "expired"),
    ],
)
def test_any_other_certificate_is_refused_with_the_reason(
    camera: tuple[str, int, str], authority: Authority, certificate: str, trusted: str, why: str
) -> None:
    """An impostor gets no password and shows no picture; `false` accepts any certificate."""
    scheme, port, path = camera
    verify = {
        "system": True,
        "another": str(authority.another_file),
        "missing": f"{authority.file}.missing",
        "authority": str(authority.file),
    }[trusted]
    with tls_server(getattr(authority, certificate), port) as tls_port:
        url = f"{scheme}://127.0.0.1:{tls_port}/{path}"
        with pytest.raises(SourceError, match=f"certificate not trusted: .*({why}).*tls_verify") as caught:
            opened(url, verify)
        assert caught.value.reason is Reason.CERTIFICATE
        assert "s3cret-word" not in str(caught.value)
        opened(url, tls_verify=False)


def test_the_certificates_of_a_playlists_segments_are_checked(clip: Path, authority: Authority) -> None:
    """Like that of the playlist."""
    playlist = clip.parent / "live.m3u8"
    as_segment(clip, clip.parent / "live.ts")
    with (
        file_server(clip.parent) as port,
        tls_server(authority.good, port) as good_port,
        tls_server(authority.expired, port) as expired_port,
    ):
        url = f"https://127.0.0.1:{good_port}/live.m3u8"
        for segment_port in (good_port, expired_port):
            segment = f"#EXT-X-TARGETDURATION:4\n#EXTINF:4.0,\nhttps://127.0.0.1:{segment_port}/live.ts"
            playlist.write_text(f"#EXTM3U\n#EXT-X-VERSION:3\n{segment}\n#EXT-X-ENDLIST\n")
            if segment_port == good_port:
                opened(url, str(authority.file))
                continue
            with pytest.raises(SourceError, match="expired") as caught:
                opened(url, str(authority.file))
            assert caught.value.reason is Reason.CERTIFICATE
        opened(url, tls_verify=False)


def as_segment(clip: Path, path: Path) -> None:
    """Write the clip's packets as an MPEG transport stream."""
    with av.open(str(clip)) as read, av.open(str(path), "w") as written:
        stream = written.add_stream_from_template(read.streams.video[0])
        for packet in read.demux():
            if packet.dts is not None:
                packet.stream = stream
                written.mux(packet)


def test_the_systems_ca_certificates_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In the place of Debian and Ubuntu, unless SSL_CERT_FILE is set."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    assert ca_file(verify=True) in BUNDLES
    (tmp_path / "own.pem").touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "own.pem"))
    assert ca_file(verify=True) == str(tmp_path / "own.pem")

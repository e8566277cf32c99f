import pytest

from daemon.config.settings import Settings
from daemon.config.uploads import open_uploads
from daemon.errors import SettingsError
from store import UploadError
from tests.tls_server import Authority, file_server, tls_server


async def fetched(url: str, tls_verify: object) -> bytes | None:
    settings = Settings.model_validate({"uploads": {"url": url, "tls_verify": tls_verify}})
    async with open_uploads(settings) as uploads:
        return await uploads.get("a.jpeg")


async def test_the_upload_servers_certificate_is_checked(tmp_path):
    """Against the system's authorities, or those of the file uploads.tls_verify; false disables the check."""
    authority = Authority(tmp_path)
    (tmp_path / "a.jpeg").write_bytes(b"picture")
    with file_server(tmp_path) as port:
        with tls_server(authority.good, port) as tls_port:
            url = f"https://127.0.0.1:{tls_port}/"
            assert await fetched(url, str(authority.file)) == b"picture"
            for trusted in (True, str(authority.another_file)):
                with pytest.raises(UploadError, match="CERTIFICATE_VERIFY_FAILED"):
                    await fetched(url, trusted)
            with pytest.raises(
                SettingsError, match=r"uploads\.tls_verify: the CA certificates file .* cannot be used"
            ):
                await fetched(url, str(tmp_path / "missing.pem"))
        with tls_server(authority.of_another_host, port) as tls_port:
            url = f"https://127.0.0.1:{tls_port}/"
            with pytest.raises(UploadError, match=r"Hostname mismatch|not valid for"):
                await fetched(url, str(authority.file))
            assert await fetched(url, tls_verify=False) == b"picture"


def test_tls_verify_is_a_boolean_or_an_absolute_path():
    """Text such as "no" is refused, not read as a file name."""
    for wrong in ("no", "ca.pem", 0, None):
        with pytest.raises(ValueError, match="absolute path of a PEM file"):
            Settings.model_validate({"uploads": {"tls_verify": wrong}})
    with pytest.raises(ValueError, match="expected true, or the absolute path"):
        Settings.model_validate({"facens": {"tls_verify": False}})

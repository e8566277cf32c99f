"""Checking the certificates of cameras that are reached over TLS.

FFmpeg checks them itself, host name included, but says only that reading failed. The reason comes from a
second handshake, on which nothing is sent.
"""

import contextlib
import socket
import ssl
from urllib.parse import urlsplit

from cameras.settings import CameraSettings
from pipeline.tls import ca_file, client_context

PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
ANSWER_SECONDS = 3.0


def is_checked(settings: CameraSettings) -> bool:
    """Whether the camera is reached over TLS and its certificate must be trusted."""
    return settings.tls_verify is not False and urlsplit(settings.url).scheme.lower() in ("rtsps", "https")


def ffmpeg_options(settings: CameraSettings) -> dict[str, str]:
    """FFmpeg checks nothing by default; its option `verifyhost` is the URL's host by default."""
    return {"tls_verify": "1", "ca_file": ca_file(settings.tls_verify)} if is_checked(settings) else {}


def distrust(settings: CameraSettings) -> str:
    """Why the camera's certificate is not trusted; empty where it is, or where no TLS server answers."""
    if not is_checked(settings):
        return ""
    place = urlsplit(settings.url)
    try:
        context = client_context(settings.tls_verify)
    except OSError as error:
        path = ca_file(settings.tls_verify)
        return f"the authorities' file {path} cannot be used ({error.strerror or error})"
    with contextlib.suppress(OSError, UnicodeError):
        where = (place.hostname or "", place.port or PORTS[place.scheme.lower()])
        with socket.create_connection(where, ANSWER_SECONDS) as connection:
            try:
                with context.wrap_socket(connection, server_hostname=place.hostname):
                    return ""
            except ssl.SSLCertVerificationError as error:
                return error.verify_message
    return ""

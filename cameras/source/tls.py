"""Checking the certificates of cameras that are reached over TLS.

FFmpeg checks them itself, host name included, but says only that reading failed. The reason comes from a
second handshake, on which nothing is sent.
"""

import contextlib
import socket
import ssl

from cameras.settings import CameraSettings
from cameras.urls import host_and_port
from pipeline.base.hosts import DEFAULT_PORTS
from pipeline.base.tls import ca_file, client_context

HANDSHAKE_SECONDS = 3.0


def is_checked(settings: CameraSettings) -> bool:
    """Whether the camera is reached over TLS and its certificate must be trusted."""
    return settings.tls_verify is not False and _scheme(settings) in ("rtsps", "https")


def ffmpeg_options(settings: CameraSettings) -> dict[str, str]:
    """FFmpeg checks nothing by default; its option `verifyhost` is the URL's host by default."""
    return {"tls_verify": "1", "ca_file": ca_file(settings.tls_verify)} if is_checked(settings) else {}


def verification_error(settings: CameraSettings) -> str:
    """Why the camera's certificate is not trusted; empty where it is, or where no TLS server answers."""
    if not is_checked(settings):
        return ""
    host, port = host_and_port(settings.url)
    try:
        context = client_context(settings.tls_verify)
    except OSError as error:
        path = ca_file(settings.tls_verify)
        return f"the authorities' file {path} cannot be used ({error.strerror or error})"
    with contextlib.suppress(OSError, UnicodeError):
        where = (host, port or DEFAULT_PORTS[_scheme(settings)])
        with socket.create_connection(where, HANDSHAKE_SECONDS) as connection:
            try:
                with context.wrap_socket(connection, server_hostname=host):
                    return ""
            except ssl.SSLCertVerificationError as error:
                return error.verify_message
    return ""


def _scheme(settings: CameraSettings) -> str:
    return settings.url.partition(":")[0].lower()

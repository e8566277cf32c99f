"""Verification of the certificates of cameras.

FFmpeg verifies certificate and host name, but reports only that reading failed. A second TLS handshake, which
sends no data, finds the reason.
"""

import contextlib
import socket
import ssl

from cameras.settings import CameraSettings
from cameras.source.connection_limiter import limited_connection
from cameras.urls import host_and_port
from pipeline.base.hosts import DEFAULT_PORTS
from pipeline.base.tls import ca_file, client_context

HANDSHAKE_SECONDS = 3.0


def is_checked(settings: CameraSettings) -> bool:
    """Whether the camera uses TLS and its certificate is checked."""
    return settings.tls_verify is not False and _scheme(settings) in ("rtsps", "https")


def verification_error(settings: CameraSettings) -> str:
    """Why the camera's certificate is not trusted; empty if it is trusted or no TLS server answers."""
    if not is_checked(settings):
        return ""
    host, port = host_and_port(settings.url)
    try:
        context = client_context(settings.tls_verify)
    except OSError as error:
        return unreadable_ca_file(settings, error)
    with contextlib.suppress(OSError, UnicodeError):
        address = (host, port or DEFAULT_PORTS[_scheme(settings)])
        with limited_connection(settings):
            connection = socket.create_connection(address, HANDSHAKE_SECONDS)
        with connection:
            try:
                with context.wrap_socket(connection, server_hostname=host):
                    return ""
            except ssl.SSLCertVerificationError as error:
                return error.verify_message
    return ""


def unreadable_ca_file(settings: CameraSettings, error: OSError) -> str:
    """Error message for a CA certificates file that cannot be read."""
    return (
        f"the CA certificates file {ca_file(settings.tls_verify)} cannot be read ({error.strerror or error})"
    )


def _scheme(settings: CameraSettings) -> str:
    return settings.url.partition(":")[0].lower()

"""The address and login of an RTSP stream, and how redirects change them."""

import socket
import ssl
from dataclasses import dataclass
from urllib.parse import urljoin

from cameras.errors import Reason, SourceError
from cameras.settings import CameraSettings
from cameras.source.connection_limiter import limited_connection
from cameras.source.ffmpeg_errors import certificate_error, connection_error
from cameras.source.tls import unreadable_ca_file
from cameras.urls import UrlKind, host_and_port, kind_of
from pipeline.base.hosts import DEFAULT_PORTS
from pipeline.base.tls import client_context
from pipeline.base.urls import UrlError, joined, mask_url, split_url

MAX_REDIRECTS = 3


@dataclass(frozen=True)
class Route:
    """A stream's address after the redirects so far."""

    url: str
    """Without user and password."""
    user: str | None
    password: str
    visited: tuple[str, ...] = ()
    """Previous URLs, each of which redirected to the next one."""

    @classmethod
    def to(cls, settings: CameraSettings) -> "Route":
        password = settings.password.get_secret_value() if settings.password is not None else ""
        return cls(settings.request_url(), settings.user, password)

    @property
    def is_tls(self) -> bool:
        return self.url.lower().startswith("rtsps:")

    def redirected(self, location: str, masked_url: str) -> "Route":
        """The route after a redirect. Drops the login for another host, and when leaving TLS.

        Raises:
            SourceError: the redirect leads in a circle, is one too many, or leads to a protocol other than
            RTSP.
        """
        try:
            parts = split_url(urljoin(self.url, location))
            url = joined(parts.public, parts.secret_end)
            if kind_of(url) is not UrlKind.RTSP:
                raise UrlError("not RTSP")
            host = host_and_port(url)[0].lower()
        except UrlError:
            raise SourceError(
                Reason.REDIRECT, f"{masked_url}: the camera redirects to {mask_url(location) or 'no URL'}"
            ) from None
        visited = (*self.visited, self.url)
        if url in visited:
            raise SourceError(
                Reason.REDIRECT, f"{masked_url}: the camera redirects in a circle; check the path"
            )
        if len(visited) > MAX_REDIRECTS:
            message = f"the camera redirects more than {MAX_REDIRECTS} times; set url to the final address"
            raise SourceError(Reason.REDIRECT, f"{masked_url}: {message}")
        same_host = host == host_and_port(self.url)[0].lower()
        downgrade = self.is_tls and not url.lower().startswith("rtsps:")
        if same_host and not downgrade:
            return Route(url, self.user, self.password, visited)
        return Route(url, parts.user, parts.password or "", visited)


def connect(route: Route, settings: CameraSettings) -> socket.socket:
    """Connect to the server of a route. Raises SourceError."""
    host, port = host_and_port(route.url)
    scheme = route.url.partition(":")[0].lower()
    context = None
    if route.is_tls:
        try:
            context = client_context(settings.tls_verify)
        except OSError as error:
            raise certificate_error(settings, unreadable_ca_file(settings, error)) from None
    try:
        address = (host, port or DEFAULT_PORTS[scheme])
        with limited_connection(settings):
            connection = socket.create_connection(address, settings.connect_timeout_seconds)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection if context is None else context.wrap_socket(connection, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        raise certificate_error(settings, error.verify_message) from None
    except (OSError, UnicodeError) as error:
        raise connection_error(error, settings) from None

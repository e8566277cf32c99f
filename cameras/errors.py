"""Errors of cameras and their reasons."""

from enum import StrEnum


class CamerasError(Exception):
    """Base class of the errors of this package."""


class Reason(StrEnum):
    """Why a camera delivers no frames: one word for metrics and status, never a URL or a password."""

    REFUSED = "refused"
    """The host refuses connections on that port."""
    UNREACHABLE = "unreachable"
    """No route to the host."""
    DNS = "dns"
    """The host name cannot be resolved."""
    TIMEOUT = "timeout"
    """No answer within connect_timeout_seconds."""
    UNAUTHORIZED = "unauthorized"
    """Wrong user or password, or the user may not view this camera."""
    CERTIFICATE = "certificate"
    """The camera's TLS certificate is not trusted; see `tls_verify`."""
    NOT_FOUND = "not_found"
    """The path does not exist on the server or disk."""
    REDIRECT = "redirect"
    """The camera redirects in a circle, too often, or to a protocol other than RTSP and HTTP."""
    NO_VIDEO = "no_video"
    """The stream has no video."""
    UNSUPPORTED = "unsupported"
    """Facend or the camera does not support the protocol, format, codec or transport."""
    CORRUPT = "corrupt"
    """The data is not video."""
    STALLED = "stalled"
    """The connection is open, but no frames arrive."""
    ENDED = "ended"
    """The stream or file ended."""
    PERMISSION = "permission"
    """The service user may not read the file or device."""
    BUSY = "busy"
    """The device is in use, or the camera has too many viewers."""
    BROKEN = "broken"
    """The connection was lost, or the camera reported an error."""
    CRASHED = "crashed"
    """Decoding the stream crashed the process repeatedly; the camera is paused for a while."""


PERMANENT = frozenset(
    {
        Reason.UNAUTHORIZED,
        Reason.CERTIFICATE,
        Reason.NOT_FOUND,
        Reason.REDIRECT,
        Reason.NO_VIDEO,
        Reason.UNSUPPORTED,
        Reason.CORRUPT,
        Reason.PERMISSION,
        Reason.CRASHED,
    }
)
"""Reasons that persist until the camera, the file or the settings change."""


class SourceError(CamerasError):
    """A source cannot be opened, or stops delivering frames. The message holds no secrets."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class ClipError(CamerasError):
    """A clip cannot be read or written."""

"""What can go wrong between a URL and a frame."""

from enum import StrEnum


class CamerasError(Exception):
    """The parent of the errors of this room."""


class Reason(StrEnum):
    """Why a camera gives no frames: one word for metrics and status, never a URL or a password."""

    REFUSED = "refused"
    """Nobody listens on that host and port."""
    UNREACHABLE = "unreachable"
    """The network has no way to that host."""
    DNS = "dns"
    """The host name means nothing to the name server."""
    TIMEOUT = "timeout"
    """No answer within connect_timeout_seconds."""
    UNAUTHORIZED = "unauthorized"
    """User or password are wrong, or may not look at this camera."""
    CERTIFICATE = "certificate"
    """The camera's TLS certificate is not trusted; see `tls_verify`."""
    NOT_FOUND = "not_found"
    """The server, or the disk, has nothing under that path."""
    NO_VIDEO = "no_video"
    """The stream carries no pictures."""
    UNSUPPORTED = "unsupported"
    """A protocol, format, codec or transport that this machine or that camera does not do."""
    CORRUPT = "corrupt"
    """The bytes are no video."""
    STALLED = "stalled"
    """The connection is there, frames are not."""
    ENDED = "ended"
    """The stream, or the file, came to its end."""
    PERMISSION = "permission"
    """This user may not read that file or device."""
    BUSY = "busy"
    """The device, or the camera's number of viewers, is taken."""
    BROKEN = "broken"
    """The connection broke, or the camera reported a fault of its own."""
    CRASHED = "crashed"
    """Decoding its stream ended the process, more than once; it is left alone for a while."""


PERMANENT = frozenset(
    {
        Reason.UNAUTHORIZED,
        Reason.CERTIFICATE,
        Reason.NOT_FOUND,
        Reason.NO_VIDEO,
        Reason.UNSUPPORTED,
        Reason.CORRUPT,
        Reason.PERMISSION,
        Reason.CRASHED,
    }
)
"""Reasons that do not pass by waiting: somebody has to change the camera, the file or the settings."""


class SourceError(CamerasError):
    """A source that could not be opened, or that stopped giving frames. The text is fit for a log line."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class ClipError(CamerasError):
    """A clip could not be written."""

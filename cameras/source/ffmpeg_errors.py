"""What an error of FFmpeg means for a camera."""

import errno
import socket
from enum import Enum, auto

from cameras.errors import Reason, SourceError
from cameras.settings import CameraSettings
from cameras.source.tls import verification_error
from cameras.urls import UrlKind, host_of


class Phase(Enum):
    """When it happened; the same error means different things."""

    OPENING = auto()
    OPENING_LATE = auto()
    """connect_timeout_seconds had passed."""
    READING = auto()


# By class name, because only cameras.source.ffmpeg may know av.
_BY_NAME = {
    "HTTPUnauthorizedError": Reason.UNAUTHORIZED,
    "HTTPForbiddenError": Reason.UNAUTHORIZED,
    "HTTPNotFoundError": Reason.NOT_FOUND,
    "HTTPTooManyRequestsError": Reason.BUSY,
    "HTTPBadRequestError": Reason.UNSUPPORTED,
    "HTTPOtherClientError": Reason.UNSUPPORTED,
    "ProtocolNotFoundError": Reason.UNSUPPORTED,
    "DemuxerNotFoundError": Reason.UNSUPPORTED,
    "DecoderNotFoundError": Reason.UNSUPPORTED,
    "OptionNotFoundError": Reason.UNSUPPORTED,
    "BSFNotFoundError": Reason.UNSUPPORTED,
    "PatchWelcomeError": Reason.UNSUPPORTED,
    "ExitError": Reason.TIMEOUT,
    "InvalidDataError": Reason.CORRUPT,
    "EOFError": Reason.CORRUPT,
}

_BY_ERRNO = {
    errno.ECONNREFUSED: Reason.REFUSED,
    errno.ENETUNREACH: Reason.UNREACHABLE,
    errno.EHOSTUNREACH: Reason.UNREACHABLE,
    errno.ENETDOWN: Reason.UNREACHABLE,
    errno.EHOSTDOWN: Reason.UNREACHABLE,
    errno.ETIMEDOUT: Reason.TIMEOUT,
    errno.ENOENT: Reason.NOT_FOUND,
    errno.ENODEV: Reason.NOT_FOUND,
    errno.ENXIO: Reason.NOT_FOUND,
    errno.EACCES: Reason.PERMISSION,
    errno.EPERM: Reason.PERMISSION,
    errno.EBUSY: Reason.BUSY,
    errno.ENOSYS: Reason.UNSUPPORTED,
    errno.ENOTTY: Reason.UNSUPPORTED,
    errno.EPROTONOSUPPORT: Reason.UNSUPPORTED,
}

_SENTENCES = {
    Reason.REFUSED: "nobody listens there; is the camera on, and are host and port right?",
    Reason.UNREACHABLE: "the network has no way to that host; look at cable, address and gateway",
    Reason.DNS: "the host name cannot be resolved; look at its spelling and at the name server",
    Reason.UNAUTHORIZED: "user or password are wrong, or may not look at this stream",
    Reason.NOT_FOUND: "there is nothing under that path",
    Reason.UNSUPPORTED: "the protocol, the transport or the format is not supported by both sides",
    Reason.CORRUPT: "what came is no video",
    Reason.PERMISSION: "this user may not read it",
    Reason.BUSY: "it is taken, or has too many viewers",
    Reason.BROKEN: "the connection broke",
}


def to_source_error(error: Exception, settings: CameraSettings, phase: Phase) -> SourceError:
    """The SourceError that says the same as an error of FFmpeg, without its URL.

    It may ask the name server and the camera, to tell a name that means nothing and a certificate that is not
    trusted from other troubles of input and output.
    """
    reason = _reason(error, settings, phase)
    if reason is Reason.BROKEN and phase is Phase.OPENING and (why := verification_error(settings)):
        reason = Reason.CERTIFICATE
    match reason:
        case Reason.CERTIFICATE:
            sentence = (
                f"certificate not trusted: {why}; set tls_verify to a PEM file with the authority that "
                "issued it, or to false to trust any certificate"
            )
        case Reason.TIMEOUT:
            sentence = f"no answer within {settings.connect_timeout_seconds:g} s"
        case Reason.STALLED:
            sentence = f"nothing came for {settings.read_timeout_seconds:g} s"
        case _:
            sentence = _SENTENCES[reason]
    if reason is Reason.BROKEN:
        sentence += f" ({getattr(error, 'strerror', None) or type(error).__name__})"
    return SourceError(reason, f"{settings.masked_url}: {sentence}")


def _reason(error: Exception, settings: CameraSettings, phase: Phase) -> Reason:
    network = settings.kind in (UrlKind.RTSP, UrlKind.HTTP)
    if phase is Phase.OPENING_LATE and network:
        # FFmpeg reports its interrupted handshake as bad data.
        return Reason.TIMEOUT
    number = getattr(error, "errno", None)
    reason = _BY_NAME.get(type(error).__name__) or _BY_ERRNO.get(number or 0) or Reason.BROKEN
    if reason is Reason.TIMEOUT and phase is Phase.READING:
        return Reason.STALLED
    if reason is Reason.CORRUPT and settings.kind is UrlKind.RTSP:
        # The pictures are not looked at yet: the other side closed the line or does not speak RTSP.
        return Reason.BROKEN
    if reason is Reason.BROKEN and number == errno.EIO and network and phase is Phase.OPENING:
        return Reason.BROKEN if _resolves(host_of(settings.url)) else Reason.DNS
    return reason


def _resolves(host: str) -> bool:
    try:
        socket.getaddrinfo(host, None)
    except (OSError, UnicodeError):
        return False
    return True

"""Translates errors of FFmpeg and of sockets to a SourceError."""

import errno
import socket
from enum import Enum, auto

from cameras.errors import Reason, SourceError
from cameras.settings import CameraSettings
from cameras.source.tls import verification_error
from cameras.urls import UrlKind, host_of


class Phase(Enum):
    """When an error occurred, which decides what it means."""

    OPENING = auto()
    OPENING_LATE = auto()
    """After connect_timeout_seconds."""
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

NO_LOGIN = "the camera requires a login and none is set; set user and password"

_SENTENCES = {
    Reason.REFUSED: "connection refused; check that the camera is on, and check host and port",
    Reason.UNREACHABLE: "no route to the host; check cable, address and gateway",
    Reason.DNS: "the host name cannot be resolved; check its spelling and the name server",
    Reason.UNAUTHORIZED: "wrong user or password, or the user may not view this stream",
    Reason.NOT_FOUND: "not found; check the path",
    Reason.UNSUPPORTED: "protocol, transport or format not supported",
    Reason.CORRUPT: "the data is not video",
    Reason.PERMISSION: "permission denied",
    Reason.BUSY: "the device is in use, or the camera has too many viewers",
    Reason.BROKEN: "connection lost",
}


def to_source_error(error: Exception, settings: CameraSettings, phase: Phase) -> SourceError:
    """Translate an error of FFmpeg, without its URL.

    May query the name server and the camera, because FFmpeg reports unknown hosts and untrusted certificates
    as general I/O errors.
    """
    reason = _reason(error, settings, phase)
    if reason is Reason.BROKEN and phase is Phase.OPENING and (why := verification_error(settings)):
        return certificate_error(settings, why)
    if reason is Reason.UNAUTHORIZED and settings.user is None:
        return SourceError(reason, f"{settings.masked_url}: {NO_LOGIN}")
    return _with_sentence(reason, error, settings)


def connection_error(error: Exception, settings: CameraSettings) -> SourceError:
    """Translate an error of a socket while it connects."""
    if isinstance(error, socket.gaierror | UnicodeError):
        return _with_sentence(Reason.DNS, error, settings)
    if isinstance(error, TimeoutError):
        return _with_sentence(Reason.TIMEOUT, error, settings)
    reason = _BY_ERRNO.get(getattr(error, "errno", None) or 0, Reason.BROKEN)
    return _with_sentence(reason, error, settings)


def certificate_error(settings: CameraSettings, why: str) -> SourceError:
    """The camera's certificate is not trusted."""
    message = (
        f"certificate not trusted: {why}; set tls_verify to a PEM file with the certificate of the CA that "
        "issued it, or to false to trust any certificate"
    )
    return SourceError(Reason.CERTIFICATE, f"{settings.masked_url}: {message}")


def _with_sentence(reason: Reason, error: Exception, settings: CameraSettings) -> SourceError:
    match reason:
        case Reason.TIMEOUT:
            sentence = f"no answer within {settings.connect_timeout_seconds:g} s"
        case Reason.STALLED:
            sentence = f"no data for {settings.read_timeout_seconds:g} s"
        case _:
            sentence = _SENTENCES[reason]
    if reason is Reason.BROKEN:
        sentence += f" ({getattr(error, 'strerror', None) or type(error).__name__})"
    return SourceError(reason, f"{settings.masked_url}: {sentence}")


def _reason(error: Exception, settings: CameraSettings, phase: Phase) -> Reason:
    is_network = settings.kind in (UrlKind.RTSP, UrlKind.HTTP)
    if phase is Phase.OPENING_LATE and is_network:
        # FFmpeg reports a handshake that timed out as invalid data.
        return Reason.TIMEOUT
    number = getattr(error, "errno", None)
    reason = _BY_NAME.get(type(error).__name__) or _BY_ERRNO.get(number or 0) or Reason.BROKEN
    if reason is Reason.TIMEOUT and phase is Phase.READING:
        return Reason.STALLED
    if reason is Reason.CORRUPT and settings.kind is UrlKind.RTSP:
        # No picture was decoded yet: the server closed the connection or does not speak RTSP.
        return Reason.BROKEN
    if reason is Reason.BROKEN and number == errno.EIO and is_network and phase is Phase.OPENING:
        return Reason.BROKEN if _resolves(host_of(settings.url)) else Reason.DNS
    return reason


def _resolves(host: str) -> bool:
    try:
        socket.getaddrinfo(host, None)
    except (OSError, UnicodeError):
        return False
    return True

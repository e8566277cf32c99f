"""Opens an RTSP stream: follows redirects, and tries other transports and payload types until one works."""

from dataclasses import dataclass

from av.container import InputContainer

from cameras.errors import Reason, SourceError
from cameras.settings import CameraSettings
from cameras.source.connection_hints import ConnectionHints, Transport
from cameras.source.container import open_container
from cameras.source.rtsp.relay import RtspRelay
from cameras.source.rtsp.route import Route
from pipeline.base.urls import mask_url


@dataclass
class _Attempt:
    """Options of the next attempt to open the stream."""

    route: Route
    transport: Transport
    payload_type: int | None
    video_only: bool = True
    """Audio would cost bandwidth and hide a stalled video."""


class RtspStream:
    """An open RTSP stream."""

    interval_seconds: float | None = None

    def __init__(
        self, container: InputContainer, relay: RtspRelay, attempt: _Attempt, hints: ConnectionHints
    ) -> None:
        self.container = container
        self._relay = relay
        self._attempt = attempt
        self._hints = hints

    def received(self) -> None:
        """The first packet has arrived."""
        self._hints.transport, self._hints.transport_works = self._attempt.transport, True
        self._hints.payload_type = self._attempt.payload_type

    def close(self) -> None:
        self.container.close()
        self._relay.close()
        _remember_other_payload_type(self._relay, self._hints)
        _remember_silence(self._attempt, self._relay, self._hints)


def open_rtsp(settings: CameraSettings, hints: ConnectionHints) -> RtspStream:
    """Open a stream.

    Raises:
        SourceError: no combination of options works.
    """
    transport = hints.transport if settings.transport == "auto" else settings.transport
    attempt = _Attempt(Route.to(settings), transport, hints.payload_type)
    tried: set[str] = set()
    while True:
        relay = _connect(attempt, settings)
        try:
            container = open_container(settings, relay.url, _options(attempt))
        except SourceError as error:
            relay.close()
            failure = error
        else:
            stream = RtspStream(container, relay, attempt, hints)
            # FFmpeg opens a stream successfully even if the relay has just ended the session.
            if relay.other_payload_type is None:
                return stream
            stream.close()
            failure = SourceError(Reason.ENDED, f"{settings.masked_url}: the camera closed the connection")
        if not _adapt(attempt, relay, settings, tried):
            _remember_silence(attempt, relay, hints)
            raise _explain(failure, relay, settings)


def _connect(attempt: _Attempt, settings: CameraSettings) -> RtspRelay:
    try:
        return RtspRelay(settings, attempt.route, attempt.payload_type)
    except SourceError as error:
        if not attempt.route.visited:
            raise
        failure = error
    target = mask_url(attempt.route.url)
    raise SourceError(failure.reason, f"{failure}; the camera redirected to {target}")


def _options(attempt: _Attempt) -> dict[str, str]:
    options = {
        "rtsp_transport": attempt.transport,
        # Probing the frame rate would delay the first frame by a second, on slow cameras by ten.
        "fpsprobesize": "0",
    }
    return {**options, "allowed_media_types": "video"} if attempt.video_only else options


def _adapt(attempt: _Attempt, relay: RtspRelay, settings: CameraSettings, tried: set[str]) -> bool:
    """Change the attempt according to the camera's response; False if there is nothing left to try.

    Raises:
        SourceError: a redirect that is not followed.
    """
    refusal = relay.refusal
    if relay.described and relay.video is None:
        return False
    if relay.other_payload_type is not None and "payload" not in tried:
        tried.add("payload")
        attempt.payload_type = relay.other_payload_type
        return True
    if refusal is None:
        return False
    if refusal.is_redirect:
        attempt.route = attempt.route.redirected(refusal.location, settings.masked_url)
        return True
    if refusal.other_transport and settings.transport == "auto" and "transport" not in tried:
        tried.add("transport")
        attempt.transport = "udp" if attempt.transport == "tcp" else "tcp"
        return True
    # Some cameras refuse to set up video without audio.
    is_set_up = refusal.method in ("SETUP", "PLAY")
    known = refusal.error(settings, relay.has_login).reason is not Reason.UNSUPPORTED
    if is_set_up and not known and not refusal.other_transport and attempt.video_only:
        attempt.video_only = False
        return True
    return False


def _remember_other_payload_type(relay: RtspRelay, hints: ConnectionHints) -> None:
    if relay.other_payload_type is not None:
        hints.payload_type = relay.other_payload_type


def _remember_silence(attempt: _Attempt, relay: RtspRelay, hints: ConnectionHints) -> None:
    """After a session without any packet, make the next one use another transport or payload type."""
    if not relay.playing or relay.receives_media or hints.transport_works:
        return
    if relay.video is not None and relay.video.alternatives and attempt.transport == "udp":
        hints.payload_type = relay.video.alternatives[0]
    # Has an effect only with transport = "auto".
    hints.transport = "udp" if attempt.transport == "tcp" else "tcp"


def _explain(failure: SourceError, relay: RtspRelay, settings: CameraSettings) -> SourceError:
    """The error to raise: the camera's own response says more than FFmpeg's error."""
    if relay.described and relay.video is None:
        return SourceError(Reason.NO_VIDEO, f"{settings.masked_url}: the stream has no video")
    if relay.refusal is not None:
        return relay.refusal.error(settings, relay.has_login)
    if relay.playing and relay.video is not None and len(relay.video.formats) > 1:
        offered = ", ".join(relay.video.formats)
        return SourceError(failure.reason, f"{failure}; the camera offers {offered}")
    return failure

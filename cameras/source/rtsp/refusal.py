"""Translates an RTSP server's refusal to a SourceError."""

from dataclasses import dataclass

from cameras.errors import Reason, SourceError
from cameras.settings import CameraSettings
from cameras.source.authentication import Challenge
from cameras.source.ffmpeg_errors import NO_LOGIN

_REASONS = {
    403: Reason.UNAUTHORIZED,
    404: Reason.NOT_FOUND,
    410: Reason.NOT_FOUND,
    429: Reason.BUSY,
    453: Reason.BUSY,
    503: Reason.BUSY,
}
_SENTENCES = {
    403: "the user may not view this stream",
    404: "not found; check the path",
    410: "not found; check the path",
}
TOO_MANY_VIEWERS = (
    "the camera has too many viewers; close other viewers, take its second stream, or raise its limit"
)
UNSUPPORTED_TRANSPORT = 461


@dataclass(frozen=True, slots=True)
class Refusal:
    """A response that ends an attempt to open the stream."""

    status: int
    phrase: str
    """Status and reason phrase."""
    method: str
    offered: tuple[Challenge, ...] = ()
    """Authentication methods."""
    location: str = ""
    """Target of a redirect."""
    other_transport: bool = False
    """The server refused the requested transport, or chose another one."""

    @property
    def is_redirect(self) -> bool:
        return 300 <= self.status < 400

    def error(self, settings: CameraSettings, has_login: bool) -> SourceError:
        """The error to raise if nothing else can be tried."""
        if self.status == 401:
            reason, sentence = self._login_error(has_login)
        elif self.other_transport and settings.transport != "auto":
            reason = Reason.UNSUPPORTED
            sentence = f'the camera does not send over {settings.transport}; set transport = "auto"'
        elif self.other_transport:
            reason, sentence = Reason.BUSY, f"{TOO_MANY_VIEWERS} (it refuses both tcp and udp)"
        elif _REASONS.get(self.status) is Reason.BUSY:
            reason, sentence = Reason.BUSY, TOO_MANY_VIEWERS
        else:
            is_client_error = 400 <= self.status < 500
            reason = _REASONS.get(self.status, Reason.UNSUPPORTED if is_client_error else Reason.BROKEN)
            sentence = _SENTENCES.get(self.status, "the camera refuses")
        return SourceError(reason, f"{settings.masked_url}: {sentence} ({self.method}: {self.phrase:.80})")

    def _login_error(self, has_login: bool) -> tuple[Reason, str]:
        if not has_login:
            return Reason.UNAUTHORIZED, NO_LOGIN
        if any(challenge.rank is not None for challenge in self.offered):
            return Reason.UNAUTHORIZED, "wrong user or password, or the user may not view this stream"
        names = ", ".join(challenge.name for challenge in self.offered) or "none"
        return Reason.UNSUPPORTED, (
            f"the camera's login is not supported: it offers {names}; allow Digest or Basic in its settings"
        )

"""Decides how long a camera pauses before it is opened again."""

from cameras.errors import Reason
from cameras.settings import CameraSettings
from pipeline.base.backoff import Backoff

FIRST_PAUSE_SECONDS = 0.5
"""Pause before the first attempt to connect again."""

FIRST_REDIRECT_PAUSE_SECONDS = 4.0
MAX_REDIRECT_PAUSE_SECONDS = 120.0
"""Pauses after a refused redirect, which repeats until the camera's settings change."""


class ReconnectBackoff:
    """Pauses of one camera, which increase while attempts fail."""

    def __init__(self, settings: CameraSettings, backoff: Backoff | None = None) -> None:
        """`backoff`: pauses after all failures except redirects. Default: up to `reconnect_max_seconds`."""
        self._usual = backoff or Backoff(FIRST_PAUSE_SECONDS, settings.reconnect_max_seconds)
        self._after_redirect = Backoff(FIRST_REDIRECT_PAUSE_SECONDS, MAX_REDIRECT_PAUSE_SECONDS)

    def pause_seconds(self, reason: Reason) -> float:
        """The pause after a failure for this reason."""
        backoff = self._after_redirect if reason is Reason.REDIRECT else self._usual
        return backoff.pause_seconds()

    def reset(self) -> None:
        """Start again with short pauses; called when the camera works."""
        self._usual.reset()
        self._after_redirect.reset()

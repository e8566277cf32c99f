"""Reports decoded frames to the observer, and logs when a camera's decode load becomes an overload."""

import structlog

from cameras.load.decode_load import DecodeLoad
from cameras.observer import CameraObserver
from cameras.settings import CameraSettings

REPORT_SECONDS = 0.15
"""Frames are reported in batches of this media time: one call per frame would cost as much as everything else
that is done between two frames."""

log = structlog.get_logger()


class DecodeReport:
    """Collects one camera's decode times. Not thread-safe."""

    def __init__(self, settings: CameraSettings, observer: CameraObserver, decode_load: DecodeLoad) -> None:
        self._settings = settings
        self._observer = observer
        self._decode_load = decode_load
        self._unreported: list[float] = []
        """Decode times since the last report."""
        self._reported_at = 0.0
        """Media time of the last report."""
        self._overload_logged = False

    @property
    def overloaded(self) -> bool:
        """Whether an overload limits decoding to key frames while nothing happens."""
        return self._settings.decode == "all" and self._decode_load.overloaded

    def frame(self, decode_seconds: float, media_time: float, *, analysed: bool) -> None:
        """Add a frame. `analysed`: the frame goes to the analysis; report at once."""
        self._unreported.append(decode_seconds)
        if analysed or media_time - self._reported_at >= REPORT_SECONDS:
            self.flush()
            self._reported_at = media_time

    def flush(self) -> None:
        """Report the remaining frames."""
        if self._unreported:
            self._observer.frames_decoded(self._settings.id, self._unreported)
            self._unreported = []
            self._log_overload()

    def _log_overload(self) -> None:
        if self._overload_logged == self.overloaded:
            return
        self._overload_logged = not self._overload_logged
        if self._overload_logged:
            log.warning("too much to decode: only key frames while nothing happens", camera=self._settings.id)
        else:
            log.info("every frame is decoded again", camera=self._settings.id)

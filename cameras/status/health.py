"""Derives a camera's state from its events and from the time that passes, and logs its changes."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from cameras.errors import PERMANENT, Reason, SourceError
from cameras.observer import CameraObserver, CameraState
from cameras.status.damage import DamageMeter
from cameras.status.watchdog import USUAL_GAPS
from pipeline.base.log_limiter import LogLimiter

RED_AFTER_SECONDS = 30.0
"""A camera with trouble for longer is red."""

SILENCE_SECONDS = 3.0
"""Maximum time without a frame of a live camera, unless its frames are usually further apart."""

CONNECTING_SECONDS = 4.0
"""Maximum time to the first picture; a longer wait counts as trouble."""

FIRST_PICTURE = "waiting for the first picture"

KEY_FRAME = (
    "waits for a key frame ({seconds:.0f} s so far); switch the camera's smart codec off (H.264+, H.265+, "
    "Zipstream), or set its key frame interval to 1 or 2 s"
)

SHOW_KEY_FRAME_SECONDS = 2.0
"""Shorter waits for a key frame are usual and not shown."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Condition:
    """A state with its reason."""

    state: CameraState
    reason: str
    detail: str
    since: datetime


@dataclass(slots=True)
class _Trouble:
    reason: str
    detail: str
    began: float
    silent: bool
    """Frames stopped without an error."""
    attempts: int = 0
    logged: bool = False


class CameraHealth:
    """State of one camera. The camera's thread reports events; any thread may read.

    Each change is logged and pushed to the observer when it happens. Some changes depend on time alone, such
    as a frozen stream, or yellow that becomes red: they are made by `refresh`, which is called periodically.
    Reading changes nothing.
    """

    def __init__(
        self,
        cam_id: str,
        observer: CameraObserver,
        monotonic: Callable[[], float] = time.monotonic,
        live: bool = True,
    ) -> None:
        """live: frames must arrive regularly; a recording may pause."""
        self._cam_id = cam_id
        self._observer = observer
        self._monotonic = monotonic
        self._lock = threading.Lock()
        # Held while the observer is called, so that it gets changes in order. Reentrant: the observer may
        # call back.
        self._pushing = threading.RLock()
        self._started = monotonic()
        self._had_frames = False
        self._trouble: _Trouble | None = None
        self._last_frame: float | None = None
        self._usual_gap = 0.0
        self._first_picture = FIRST_PICTURE
        self._live = live
        self._posting_error: tuple[float, str] | None = None
        self._final: tuple[str, str] | None = None
        self._lines = LogLimiter()
        self._meter = DamageMeter()
        self._damage_lines = LogLimiter()
        self._damaged = self._damage_logged = self._awaits_first_frame = False
        self._shown: Condition | None = None

    @property
    def usual_gap(self) -> float:
        """Seconds between this camera's frames, or between its packets in keyframe mode."""
        return self._usual_gap

    def connected(self, live: bool, frame_seconds: float = 0.0) -> None:
        """A source is open. frame_seconds: nominal frame duration by its metadata; 0 if unknown."""
        with self._lock:
            self._live = live
            self._first_picture = FIRST_PICTURE
            self._usual_gap = max(self._usual_gap, frame_seconds)
            if live:
                # A lost connection truncates the picture in transit; that is no damage.
                self._meter = DamageMeter()
                self._awaits_first_frame = True

    def frame(self) -> None:
        """A frame was decoded, which ends any trouble."""
        now = self._monotonic()
        with self._lock:
            trouble, self._trouble = self._trouble, None
            if self._last_frame is not None and (trouble is None or trouble.silent):
                # Decays slowly, so that one burst does not make a slow camera count as fast.
                self._usual_gap = max(now - self._last_frame, self._usual_gap * 0.98)
            self._last_frame = now
            self._awaits_first_frame = False
            self._meter.picture(now, damaged=False)
            first, self._had_frames = not self._had_frames, True
        if trouble is not None and trouble.logged:
            log.info(
                "camera is back",
                camera=self._cam_id,
                seconds_lost=round(now - trouble.began, 1),
                attempts=trouble.attempts,
            )
        if trouble is not None or first:
            self.refresh()

    def awaiting_key_frame(self, seconds: float) -> None:
        """Packets arrive, but no picture can be decoded before a key frame."""
        if seconds < SHOW_KEY_FRAME_SECONDS:
            return
        with self._lock:
            before = self._first_picture
            self._first_picture = KEY_FRAME.format(seconds=seconds)
            if self._trouble is not None:
                self._trouble.reason, self._trouble.detail = "connecting", self._first_picture
                self._trouble.silent = True
        if before != self._first_picture:
            self.refresh()

    def undecoded_packet(self) -> None:
        """A packet arrived that is not decoded; like a frame, it proves that the camera is alive."""
        now = self._monotonic()
        with self._lock:
            if self._last_frame is not None and self._trouble is None:
                self._usual_gap = max(now - self._last_frame, self._usual_gap * 0.98)
                self._last_frame = now

    def damaged_frame(self) -> None:
        """A packet could not be decoded. Ignored before the first picture of a connection, which may begin
        between two key frames."""
        with self._lock:
            if self._awaits_first_frame:
                return
            self._meter.picture(self._monotonic(), damaged=True)
            is_green = self._shown is not None and self._shown.state is CameraState.GREEN
        if is_green:
            self.refresh()

    def failed(self, error: SourceError, began: float | None = None) -> None:
        """Opening or reading failed. began: start of the trouble, monotonic seconds; default: now."""
        now = self._monotonic()
        with self._lock:
            first = now if began is None else began
            trouble = self._trouble = self._trouble or _Trouble("", "", first, silent=False)
            trouble.reason, trouble.detail, trouble.silent = error.reason.value, str(error), False
            trouble.attempts += 1
            counted = self._lines.due(now)
            trouble.logged |= counted is not None
        self._log_trouble(trouble, counted)
        self.refresh()

    def finished(self, reason: str, detail: str) -> None:
        """The camera is not read: disabled, stopped, ended, or read by another box."""
        with self._lock:
            self._final = (reason, detail)
        self.refresh()

    def posting_failed(self, message: str) -> None:
        """Sightings of this camera cannot be posted: yellow for the next 30 s."""
        with self._lock:
            self._posting_error = (self._monotonic(), message)
        self.refresh()

    def condition(self) -> Condition:
        """The state that was last pushed to the observer."""
        with self._lock:
            if self._shown is None:
                return Condition(*self._judge(self._monotonic()), datetime.now(UTC))
            return self._shown

    def refresh(self) -> None:
        """Apply changes that depend on time alone; log and push a change of state."""
        with self._pushing:
            with self._lock:
                now = self._monotonic()
                noticed, counted = self._notice_silence(now)
                damage = self._notice_damage(now)
                state, reason, detail = self._judge(now)
                shown = self._shown
                changed = shown is None or shown.state is not state or shown.reason != reason
                since = datetime.now(UTC) if shown is None or shown.state is not state else shown.since
                self._shown = Condition(state, reason, detail, since)
            if noticed is not None:
                self._log_trouble(noticed, counted)
            if damage is not None:
                self._log_damage(damage)
            if changed:
                self._observer.state(self._cam_id, state, reason)

    def _notice_silence(self, now: float) -> tuple[_Trouble | None, dict[str, int] | None]:
        """Detect the beginning of silence without an error: the camera's thread waits inside FFmpeg."""
        if self._final is not None or self._trouble is not None or not self._live:
            return None, None
        if self._last_frame is None:
            if now - self._started < CONNECTING_SECONDS:
                return None, None
            self._trouble = _Trouble("connecting", self._first_picture, self._started, silent=True)
        else:
            quiet = now - self._last_frame
            if quiet <= max(SILENCE_SECONDS, USUAL_GAPS * self._usual_gap):
                return None, None
            detail = f"no picture for {quiet:.0f} s"
            self._trouble = _Trouble(Reason.STALLED.value, detail, self._last_frame, silent=True)
        counted = self._lines.due(now)
        self._trouble.logged = counted is not None
        return self._trouble, counted

    def _notice_damage(self, now: float) -> dict[str, object] | None:
        """Fields to log when damage begins ({} when it ends); otherwise None."""
        share = self._meter.share(now) if self._final is None else 0.0
        before, self._damaged = self._damaged, share > 0
        if self._damaged and not before:
            counted = self._damage_lines.due(now)
            self._damage_logged = counted is not None
            return None if counted is None else {"percent": round(100 * share), **counted}
        if before and not self._damaged and self._damage_logged:
            return {}
        return None

    def _log_trouble(self, trouble: _Trouble, counted: dict[str, int] | None) -> None:
        if counted is not None:
            log.warning(
                "camera gives no frames",
                camera=self._cam_id,
                reason=trouble.reason,
                detail=trouble.detail,
                **counted,
            )

    def _log_damage(self, damage: dict[str, object]) -> None:
        if damage:
            log.warning("camera sends damaged pictures", camera=self._cam_id, **damage)
        else:
            log.info("camera's pictures are whole again", camera=self._cam_id)

    def _judge(self, now: float) -> tuple[CameraState, str, str]:
        if self._final is not None:
            return (CameraState.GREY, *self._final)
        trouble = self._trouble
        if trouble is not None:
            seconds = now - trouble.began
            if trouble.reason == Reason.STALLED.value and trouble.silent:
                trouble.detail = f"no picture for {seconds:.0f} s"
            # A camera that never delivered a frame, or has a permanent fault, will not recover soon.
            hopeless = not trouble.silent and (not self._had_frames or trouble.reason in PERMANENT)
            state = CameraState.RED if hopeless or seconds >= RED_AFTER_SECONDS else CameraState.YELLOW
            return state, trouble.reason, trouble.detail
        if self._last_frame is None:
            late = now - self._started >= RED_AFTER_SECONDS
            return CameraState.RED if late else CameraState.YELLOW, "connecting", self._first_picture
        if self._posting_error is not None and now - self._posting_error[0] < RED_AFTER_SECONDS:
            return CameraState.YELLOW, "posting", self._posting_error[1]
        if self._damaged:
            share = self._meter.share(now)
            return CameraState.YELLOW, Reason.CORRUPT.value, f"{share:.0%} of its pictures arrive damaged"
        return CameraState.GREEN, "", ""

"""How a camera is: its state, worked out from what happened to it, and the log lines about it."""

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

RED_AFTER_SECONDS = 30.0
"""Trouble that lasts longer is red."""

LOG_INTERVAL_SECONDS = 60.0
"""Trouble that goes on, or comes back, is logged at most so often."""

SILENCE_SECONDS = 3.0
"""A live camera that gives nothing for so long is in trouble, unless it is always that slow."""

CONNECTING_SECONDS = 4.0
"""A camera that has not given its first picture by then is in trouble, too."""

FIRST_PICTURE = "waiting for the first picture"

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
    """Nothing failed yet; frames just do not come."""
    attempts: int = 0
    announced: bool = False


class _LogLimiter:
    """Log lines about one kind of trouble: at most one a minute, and what was left out is counted."""

    def __init__(self) -> None:
        self._last: float | None = None
        self._left_out = 0

    def due(self, now: float) -> dict[str, int] | None:
        """What the line says of those before it; None where it is too early for another one."""
        if self._last is not None and now - self._last < LOG_INTERVAL_SECONDS:
            self._left_out += 1
            return None
        left_out, self._left_out, self._last = self._left_out, 0, now
        return {"failures_not_logged": left_out} if left_out else {}


class CameraHealth:
    """One camera's condition. The camera's thread tells it what happens, anybody may ask.

    Time passing changes a condition too (yellow becomes red, a frozen stream shows), so it is worked out
    anew whenever somebody asks; the observer hears of every change that is seen.
    """

    def __init__(
        self,
        cam_id: str,
        observer: CameraObserver,
        monotonic: Callable[[], float] = time.monotonic,
        live: bool = True,
    ) -> None:
        """`live`: frames come by themselves; a recording may take its time."""
        self._cam_id = cam_id
        self._observer = observer
        self._monotonic = monotonic
        self._lock = threading.Lock()
        # Held while the observer is told, so that it hears of changes in their order; it may ask back.
        self._telling = threading.RLock()
        self._started = monotonic()
        self._was_green = False
        self._trouble: _Trouble | None = None
        self._last_frame: float | None = None
        self._usual_gap = 0.0
        self._live = live
        self._posting_error: tuple[float, str] | None = None
        self._final: tuple[str, str] | None = None
        self._lines = _LogLimiter()
        self._meter = DamageMeter()
        self._damage_lines = _LogLimiter()
        self._damaged = self._damage_announced = self._begins = False
        self._shown: Condition | None = None

    @property
    def usual_gap(self) -> float:
        """Seconds between this camera's pictures, or between its packets while it dozes."""
        return self._usual_gap

    def connected(self, live: bool, frame_seconds: float = 0.0) -> None:
        """A source is open; frames should follow, one every so many seconds if it tells the truth."""
        with self._lock:
            self._live = live
            self._usual_gap = max(self._usual_gap, frame_seconds)
            if live:
                # A connection that breaks takes the picture that was on its way; that is no damage.
                self._meter = DamageMeter()
                self._begins = True

    def frame(self) -> None:
        """A frame was decoded: whatever the trouble was, it is over."""
        now = self._monotonic()
        with self._lock:
            trouble, self._trouble = self._trouble, None
            if self._last_frame is not None and (trouble is None or trouble.silent):
                # Falls slowly: one burst does not make a slow camera a fast one.
                self._usual_gap = max(now - self._last_frame, self._usual_gap * 0.98)
            self._last_frame = now
            self._begins = False
            self._meter.picture(now, damaged=False)
            first, self._was_green = not self._was_green, True
        if trouble is not None and trouble.announced:
            log.info(
                "camera is back",
                camera=self._cam_id,
                seconds_lost=round(now - trouble.began, 1),
                attempts=trouble.attempts,
            )
        if trouble is not None or first:
            self.condition()

    def undecoded_packet(self) -> None:
        """A packet came that is not decoded: it says as much of the camera's life as a frame."""
        now = self._monotonic()
        with self._lock:
            if self._last_frame is not None and self._trouble is None:
                self._usual_gap = max(now - self._last_frame, self._usual_gap * 0.98)
                self._last_frame = now

    def damaged_frame(self) -> None:
        """A packet came of which no sound picture could be made.

        Before the first picture of a connection that says nothing: it may have begun between two key frames.
        """
        with self._lock:
            if not self._begins:
                self._meter.picture(self._monotonic(), damaged=True)

    def failed(self, error: SourceError, began: float | None = None) -> None:
        """An attempt to open or to read failed; `began`, in monotonic seconds, where that was earlier."""
        now = self._monotonic()
        with self._lock:
            first = now if began is None else began
            trouble = self._trouble = self._trouble or _Trouble("", "", first, silent=False)
            trouble.reason, trouble.detail, trouble.silent = error.reason.value, str(error), False
            trouble.attempts += 1
            counted = self._lines.due(now)
            trouble.announced |= counted is not None
        self._announce(trouble, counted)
        self.condition()

    def finished(self, reason: str, detail: str) -> None:
        """Nothing more is wanted of this camera: disabled, stopped, ended."""
        with self._lock:
            self._final = (reason, detail)
        self.condition()

    def posting_failed(self, message: str) -> None:
        """What this camera saw could not be posted: yellow for the next 30 s."""
        with self._lock:
            self._posting_error = (self._monotonic(), message)
        self.condition()

    def condition(self) -> Condition:
        """How the camera is now."""
        with self._telling:
            with self._lock:
                now = self._monotonic()
                noticed, counted = self._notice_silence(now)
                damage = self._notice_damage(now)
                state, reason, detail = self._judge(now)
                shown = self._shown
                changed = shown is None or shown.state is not state or shown.reason != reason
                since = datetime.now(UTC) if shown is None or shown.state is not state else shown.since
                condition = self._shown = Condition(state, reason, detail, since)
            if noticed is not None:
                self._announce(noticed, counted)
            if damage is not None:
                self._tell_damage(damage)
            if changed:
                self._observer.state(self._cam_id, state, reason)
            return condition

    def _notice_silence(self, now: float) -> tuple[_Trouble | None, dict[str, int] | None]:
        """A trouble that nobody tells of, when it begins: the camera's thread waits inside FFmpeg."""
        if self._final is not None or self._trouble is not None or not self._live:
            return None, None
        if self._last_frame is None:
            if now - self._started < CONNECTING_SECONDS:
                return None, None
            self._trouble = _Trouble("connecting", FIRST_PICTURE, self._started, silent=True)
        else:
            quiet = now - self._last_frame
            if quiet <= max(SILENCE_SECONDS, USUAL_GAPS * self._usual_gap):
                return None, None
            detail = f"no picture for {quiet:.0f} s"
            self._trouble = _Trouble(Reason.STALLED.value, detail, self._last_frame, silent=True)
        counted = self._lines.due(now)
        self._trouble.announced = counted is not None
        return self._trouble, counted

    def _notice_damage(self, now: float) -> dict[str, object] | None:
        """What to log of damaged pictures, when that begins and when it ends."""
        share = self._meter.share(now) if self._final is None else 0.0
        before, self._damaged = self._damaged, share > 0
        if self._damaged and not before:
            counted = self._damage_lines.due(now)
            self._damage_announced = counted is not None
            return None if counted is None else {"percent": round(100 * share), **counted}
        if before and not self._damaged and self._damage_announced:
            return {}
        return None

    def _announce(self, trouble: _Trouble, counted: dict[str, int] | None) -> None:
        if counted is not None:
            log.warning(
                "camera gives no frames",
                camera=self._cam_id,
                reason=trouble.reason,
                detail=trouble.detail,
                **counted,
            )

    def _tell_damage(self, damage: dict[str, object]) -> None:
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
            if trouble.silent and self._last_frame is not None:
                trouble.detail = f"no picture for {seconds:.0f} s"
            # A camera that never worked is not about to come back, and some faults never pass by waiting.
            hopeless = not trouble.silent and (not self._was_green or trouble.reason in PERMANENT)
            state = CameraState.RED if hopeless or seconds >= RED_AFTER_SECONDS else CameraState.YELLOW
            return state, trouble.reason, trouble.detail
        if self._last_frame is None:
            late = now - self._started >= RED_AFTER_SECONDS
            return CameraState.RED if late else CameraState.YELLOW, "connecting", FIRST_PICTURE
        if self._posting_error is not None and now - self._posting_error[0] < RED_AFTER_SECONDS:
            return CameraState.YELLOW, "posting", self._posting_error[1]
        if self._damaged:
            share = self._meter.share(now)
            return CameraState.YELLOW, Reason.CORRUPT.value, f"{share:.0%} of its pictures arrive damaged"
        return CameraState.GREEN, "", ""

"""How a camera is: its state, worked out from what happened to it, and the log lines about it."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from cameras.errors import PERMANENT, Reason, SourceError
from cameras.observer import CameraObserver, CameraState

PATIENCE_SECONDS = 30.0
"""Trouble that lasts longer is red."""

REPEAT_SECONDS = 60.0
"""Trouble that goes on, or comes back, is logged at most so often."""

QUIET_SECONDS = 3.0
"""A live camera that gives nothing for so long is in trouble, unless it is always that slow."""

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
    error: SourceError
    began: float
    attempts: int = 1
    announced: bool = False


class Health:
    """One camera's condition. The camera's thread tells it what happens, anybody may ask.

    Time passing changes a condition too (yellow becomes red, a frozen stream shows), so it is worked out
    anew whenever somebody asks; the observer hears of every change that is seen.
    """

    def __init__(
        self, cam_id: str, observer: CameraObserver, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
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
        self._live = True
        self._posting_error: tuple[float, str] | None = None
        self._final: tuple[str, str] | None = None
        self._last_line: float | None = None
        self._unlogged = 0
        self._shown: Condition | None = None

    def connected(self, live: bool) -> None:
        """A source is open; frames should follow."""
        with self._lock:
            self._live = live

    def frame(self) -> None:
        """A frame was decoded: whatever the trouble was, it is over."""
        now = self._monotonic()
        with self._lock:
            if self._last_frame is not None and self._trouble is None:
                # Falls slowly: one burst does not make a slow camera a fast one.
                self._usual_gap = max(now - self._last_frame, self._usual_gap * 0.98)
            self._last_frame = now
            first, self._was_green = not self._was_green, True
            trouble, self._trouble = self._trouble, None
        if trouble is not None and trouble.announced:
            log.info(
                "camera is back",
                camera=self._cam_id,
                seconds_lost=round(now - trouble.began, 1),
                attempts=trouble.attempts,
            )
        if trouble is not None or first:
            self.condition()

    def failed(self, error: SourceError) -> None:
        """An attempt to open or to read failed."""
        now = self._monotonic()
        with self._lock:
            if self._trouble is None:
                self._trouble = _Trouble(error, now)
            else:
                self._trouble.error = error
                self._trouble.attempts += 1
            due = self._last_line is None or now - self._last_line >= REPEAT_SECONDS
            repeats = self._unlogged
            if due:
                self._last_line, self._unlogged, self._trouble.announced = now, 0, True
            else:
                self._unlogged += 1
        if due:
            counted = {"failures_not_logged": repeats} if repeats else {}
            log.warning(
                "camera gives no frames",
                camera=self._cam_id,
                reason=error.reason.value,
                detail=str(error),
                **counted,
            )
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
                state, reason, detail = self._judge(self._monotonic())
                shown = self._shown
                changed = shown is None or shown.state is not state or shown.reason != reason
                since = datetime.now(UTC) if shown is None or shown.state is not state else shown.since
                condition = self._shown = Condition(state, reason, detail, since)
            if changed:
                self._observer.state(self._cam_id, state, reason)
            return condition

    def _judge(self, now: float) -> tuple[CameraState, str, str]:
        if self._final is not None:
            return (CameraState.GREY, *self._final)
        if self._trouble is not None:
            error, seconds = self._trouble.error, now - self._trouble.began
            # A camera that never worked is not about to come back, and some faults never pass by waiting.
            hopeless = not self._was_green or error.reason in PERMANENT
            state = CameraState.RED if hopeless or seconds >= PATIENCE_SECONDS else CameraState.YELLOW
            return state, error.reason.value, str(error)
        if self._last_frame is None:
            return self._by_time(now - self._started), "connecting", "waiting for the first picture"
        quiet = now - self._last_frame
        if self._live and quiet > max(QUIET_SECONDS, 3 * self._usual_gap):
            return self._by_time(quiet), Reason.STALLED.value, f"no picture for {quiet:.0f} s"
        if self._posting_error is not None and now - self._posting_error[0] < PATIENCE_SECONDS:
            return CameraState.YELLOW, "posting", self._posting_error[1]
        return CameraState.GREEN, "", ""

    @staticmethod
    def _by_time(seconds: float) -> CameraState:
        return CameraState.RED if seconds >= PATIENCE_SECONDS else CameraState.YELLOW

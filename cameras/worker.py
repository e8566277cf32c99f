"""One camera's thread: open, read, hand over, and come back after every trouble."""

import threading
import time
from collections.abc import Callable

import structlog

from cameras.errors import Reason, SourceError
from cameras.latest_frame import LatestFrame
from cameras.load.decode_load import DecodeLoad
from cameras.observer import CameraObserver, CameraStatus
from cameras.settings import CameraSettings
from cameras.source.crash_tag import with_crash_tag
from cameras.source.ffmpeg import FFmpegSource
from cameras.status.health import CameraHealth
from cameras.status.stats import CameraStats
from cameras.status.watchdog import Stall, Watchdog
from cameras.stream import DecodedFrame, Stream, StreamInfo, UndecodedPacket
from cameras.timing.clock import Stamp, StreamClock
from cameras.timing.playback import Playback
from cameras.urls import UrlKind
from pipeline.base.backoff import Backoff
from pipeline.rate import Rate
from pipeline.types import Frame

FIRST_PICTURE_SECONDS = 30.0
"""A stream that sends, but no first picture, is opened again after so long; key frames may be rare."""

STILL_SECONDS = 1.0
"""A recording of a single picture that is looped is read again after so long."""

LATE_SECONDS = 0.1
"""So long a late frame waits for the analysis to take the one before it; the stream waits meanwhile."""

RATE_SECONDS = 2.0
"""The frame rate of a stream that does not name it is measured over at least so long."""

TOLD_SECONDS = 0.15
"""Decoded frames of so long are told together: to tell of each took as long as all the rest between two."""

STEADY_SECONDS = 10.0
"""Frames for so long make the next trouble a new one, with short waits again."""

FIRST_PAUSE_SECONDS = 0.5
"""Pause before the first attempt to connect again."""

log = structlog.get_logger()


class CameraWorker:
    """Reads one camera until it is stopped. Started once; changed settings take a new worker and slot."""

    def __init__(
        self,
        settings: CameraSettings,
        slot: LatestFrame,
        observer: CameraObserver,
        open_source: Callable[[CameraSettings], Stream] = FFmpegSource,
        backoff: Backoff | None = None,
        held_seconds: float = 0.0,
        wanted_fps: Callable[[], float] | None = None,
        decode_load: DecodeLoad | None = None,
        read_by: str = "",
    ) -> None:
        """`held_seconds`: to be left alone for so long, because its stream crashed the process. `wanted_fps`:
        how many frames a second are wanted at present, if that may be fewer than `max_fps`. `decode_load`:
        the source's. `read_by`: another box that reads this camera; it is not opened here then."""
        self.settings = settings
        self._held_seconds = held_seconds
        self._slot = slot
        self._observer = observer
        self._open_source = open_source
        self._backoff = backoff or Backoff(FIRST_PAUSE_SECONDS, settings.reconnect_max_seconds)
        self._health = CameraHealth(settings.id, observer, live=settings.kind is not UrlKind.FILE)
        self._stop = threading.Event()
        # A daemon thread: FFmpeg cannot be interrupted while it connects, and must not hold up the exit.
        run = with_crash_tag(settings.crash_tag, self._run)
        self._thread = threading.Thread(target=run, name=f"camera {settings.id}", daemon=True)
        self._stats = CameraStats(settings)
        self._clock: StreamClock | None = None
        self._playback: Playback | None = None
        self._watchdog = Watchdog(settings)
        self._rate = Rate()
        self._told_at = 0.0
        """The media time at which the observer was told last."""
        self._untold: list[float] = []
        """How long frames took to decode of which the observer does not know yet."""
        self._effort = decode_load or DecodeLoad()
        self._logged_overload = False
        self._wanted_fps = wanted_fps or (lambda: settings.max_fps)
        self._wanted = settings.enabled and not read_by
        if not settings.enabled:
            self._health.finished("disabled", "disabled in its settings")
        elif read_by:
            self._health.finished("elsewhere", f"box {read_by} reads it")

    @property
    def status(self) -> CameraStatus:
        """How the camera is now."""
        return self._stats.status(self._health.condition())

    @property
    def overloaded(self) -> bool:
        """Whether only its key frames are decoded while nothing happens, for lack of time."""
        return self.settings.decode == "all" and self._effort.overloaded

    @property
    def thread(self) -> int | None:
        """The kernel's number for its thread; None where there is none."""
        return self._thread.native_id

    def start(self) -> None:
        """Begin; returns at once. A camera that is disabled or read by another box only says so."""
        if self._wanted:
            self._thread.start()
        else:
            self._slot.close()

    def ask_to_stop(self) -> None:
        """Begin to end it; returns at once. After this the slot gets nothing but its end."""
        self._stop.set()
        self._slot.close()
        if self._health.condition().reason not in ("disabled", "elsewhere", "ended"):
            self._health.finished("stopped", "")

    def stop(self, timeout: float = 1.5) -> bool:
        """`ask_to_stop`, and wait for its end for at most `timeout` seconds.

        False where the thread is still inside FFmpeg, which cannot be interrupted while it connects or waits
        for a stalled stream: it ends by itself at its own timeout, touches nothing more until then, and does
        not hold up the end of the process.
        """
        self.ask_to_stop()
        return self.join(timeout)

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the thread's end; True where there is none any more."""
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def hung_seconds(self) -> float:
        """For how long the thread has hung; 0 while it works, waits within its timeouts, or has ended."""
        if not self._thread.is_alive() or self._stop.is_set():
            return 0.0
        return self._watchdog.hung_seconds()

    def waiting(self) -> Stall | None:
        """What it waits for, where that takes longer than the camera's packets usually do; else None."""
        return None if self._stop.is_set() else self._watchdog.waiting(self._health.usual_gap)

    def successor(self) -> "CameraWorker":
        """Another worker, to be started, that opens the camera anew and goes on where this one waits.

        This one's thread ends when FFmpeg lets go of it, and touches nothing more.
        """
        waiting = self.waiting()
        self._stop.set()
        self._slot.end()
        other = CameraWorker(
            self.settings,
            self._slot,
            self._observer,
            self._open_source,
            self._backoff,
            wanted_fps=self._wanted_fps,
            decode_load=self._effort,
        )
        other._health, other._stats = self._health, self._stats
        other._clock, other._playback, other._rate = self._clock, self._playback, self._rate
        other._logged_overload = self._logged_overload
        # A camera that answers questions and still takes its time is not begun with again and again.
        other._watchdog = Watchdog(self.settings, patient=True)
        message = f"{self.settings.masked_url}: silent, but it answers a new connection; opened anew"
        self._health.failed(SourceError(Reason.STALLED, message), waiting.since if waiting else None)
        self._count_reconnect(Reason.STALLED)
        return other

    def report_posting_error(self, message: str) -> None:
        """What this camera saw could not be posted; yellow for the next 30 s. No secrets in the text."""
        self._health.posting_failed(message)

    def _run(self) -> None:
        if self._held_seconds:
            self._be_held_back(self._held_seconds)
        while not self._stop.is_set():
            try:
                self._run_once()
            except SourceError as error:
                if self._stop.is_set():
                    return
                self._slot.end()
                self._health.failed(error)
                self._watchdog.rests()
                self._stop.wait(self._backoff.pause_seconds())
                if not self._stop.is_set():
                    self._count_reconnect(error.reason)
            else:
                if not self._stop.is_set():
                    log.info("recording was played to its end", camera=self.settings.id)
                    self._health.finished("ended", "the recording was played to its end")
                    self._slot.close()
                return

    def _be_held_back(self, seconds: float) -> None:
        minutes = f"{seconds / 60:.0f} minutes"
        message = f"{self.settings.masked_url}: decoding it crashed the process; left alone for {minutes}"
        self._health.failed(SourceError(Reason.CRASHED, message))
        self._stop.wait(seconds)
        self._count_reconnect(Reason.CRASHED)

    def _run_once(self) -> None:
        """Play the source until it ends for good or the worker is stopped. SourceError on any trouble."""
        while not self._stop.is_set():
            self._watchdog.attempt()
            source = self._open_source(self.settings)
            try:
                if self._stop.is_set():
                    return
                self._describe(source.info)
                self._watchdog.opened(live=not source.info.recorded)
                frames = self._read(source)
            finally:
                self._tell_decoded()
                source.close()
            if frames == 0 and not self._stop.is_set():
                raise SourceError(
                    Reason.CORRUPT, f"{self.settings.masked_url}: not one picture could be decoded"
                )
            if not self.settings.loop:
                return
            if frames == 1:
                self._stop.wait(STILL_SECONDS)

    def _read(self, source: Stream) -> int:
        """Hand over every frame up to the end; how many there were."""
        info = source.info
        clock = self._clock_for(info)
        playback = self._playback_for(info)
        frames = came = 0
        began = last = time.monotonic()
        for item in source.frames():
            if self._stop.is_set():
                break
            now = self._watchdog.step()
            if isinstance(item, UndecodedPacket):
                came += 1
                self._go_past(item, clock, playback)
                last = time.monotonic()
                continue
            if not isinstance(item, DecodedFrame):
                if item.corrupt:
                    self._health.damaged_frame()
                    self._observer.skipped(self.settings.id, "corrupt")
                self._bear_silence(now - last, frames, info)
                continue
            frames += 1
            self._watchdog.picture()
            came += not item.late
            stamp = clock.stamp(item.stream_seconds, item.arrived_at, info.frame_seconds)
            if playback is not None and not item.late:
                clock.delay(playback.wait_until_due(stamp.media_time))
            self._hand_over(item, stamp, lossless=info.recorded and self.settings.speed == "fast")
            last = time.monotonic()
            if info.fps is None and last - began >= RATE_SECONDS:
                self._stats.measured(came / (last - began))
            if last - began > STEADY_SECONDS:
                self._backoff.reset()
        return frames

    def _go_past(self, item: UndecodedPacket, clock: StreamClock, playback: Playback | None) -> None:
        self._health.kept()
        if item.dropped:
            self._observer.skipped(self.settings.id, "busy")
        if playback is not None and (due := clock.media_time(item.stream_seconds)) is not None:
            clock.delay(playback.wait_until_due(due))

    def _hand_over(self, item: DecodedFrame, stamp: Stamp, lossless: bool) -> None:
        self._stats.frame()
        self._health.frame()
        self._untold.append(item.decode_seconds)
        # What nobody wants to see would only replace what somebody has not yet taken. Where none may be lost,
        # it must not depend on how far the analysis is just now.
        fps = self.settings.max_fps if lossless else self._wanted_fps()
        due = self._rate.is_due(stamp.media_time, fps)
        if due or stamp.media_time - self._told_at >= TOLD_SECONDS:
            self._tell_decoded()
            self._told_at = stamp.media_time
        if not due:
            return
        self._rate.taken(stamp.media_time, fps)
        self._stats.picture((item.pixels.width, item.pixels.height))
        frame = Frame(self.settings.id, stamp.captured_at, stamp.media_time, item.pixels)
        # Late frames come all at once: the newest would win, and what they were kept for be lost.
        self._slot.put(frame, lossless or item.late, None if lossless else LATE_SECONDS)

    def _tell_decoded(self) -> None:
        if self._untold:
            self._observer.frames_decoded(self.settings.id, self._untold)
            self._untold = []
            if not self._stop.is_set():
                self._log_overload()

    def _log_overload(self) -> None:
        if self._logged_overload == self.overloaded:
            return
        self._logged_overload = not self._logged_overload
        if self._logged_overload:
            log.warning("too much to decode: only key frames while nothing happens", camera=self.settings.id)
        else:
            log.info("every frame is decoded again", camera=self.settings.id)

    def _bear_silence(self, seconds: float, frames: int, info: StreamInfo) -> None:
        """Packets come, pictures do not: a reason to open the stream again after a while."""
        patience = self.settings.read_timeout_seconds
        if frames == 0:
            patience = max(patience, FIRST_PICTURE_SECONDS)
        if seconds > patience and not info.recorded:
            message = f"{self.settings.masked_url}: packets arrive, but no picture for {patience:g} s"
            raise SourceError(Reason.STALLED, message)

    def _clock_for(self, info: StreamInfo) -> StreamClock:
        """One clock for the worker's life, so that times go on growing over loops and reconnects."""
        if self._clock is None:
            self._clock = StreamClock(follow_arrival=not info.recorded)
        elif not info.recorded:
            self._clock.reconnected()
            self._rate.restart()
        return self._clock

    def _playback_for(self, info: StreamInfo) -> Playback | None:
        """One for the worker's life, too: a loop of one picture has no playback within a round."""
        if not info.recorded or self.settings.speed != "media":
            return None
        self._playback = self._playback or Playback(self._stop)
        return self._playback

    def _describe(self, info: StreamInfo) -> None:
        self._health.connected(live=not info.recorded, frame_seconds=1 / info.fps if info.fps else 0.0)
        self._stats.connected(info)

    def _count_reconnect(self, reason: Reason) -> None:
        self._stats.reconnect()
        self._observer.reconnect(self.settings.id, reason.value)

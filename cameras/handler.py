"""The handler of one camera: owns its state, its retries and the takeover from a stalled run."""

import threading
from collections.abc import Callable

import structlog

from cameras.errors import Reason, SourceError
from cameras.latest_frame import LatestFrame
from cameras.load.decode_load import DecodeLoad
from cameras.load.decode_report import DecodeReport
from cameras.observer import CameraObserver, CameraStatus
from cameras.reconnect_backoff import ReconnectBackoff
from cameras.settings import CameraSettings
from cameras.source.crash_tag import with_crash_tag
from cameras.source.ffmpeg import FFmpegSource
from cameras.source_run import SourceRun
from cameras.status.health import CameraHealth
from cameras.status.stats import CameraStats
from cameras.status.watchdog import Stall
from cameras.stream import DecodedFrame, Stream, StreamInfo, UndecodedPacket
from cameras.timing.clock import Stamp
from cameras.timing.playback import wait_or_stop
from cameras.timing.stream_timing import StreamTiming
from cameras.urls import UrlKind
from pipeline.base.backoff import Backoff
from pipeline.frame_sampler import FrameSampler
from pipeline.types import Frame

SINGLE_PICTURE_SECONDS = 1.0
"""Interval at which a looped recording of a single picture is read again."""

LATE_FRAME_WAIT_SECONDS = 0.1
"""Maximum time that a late frame waits for the slot to become free."""

log = structlog.get_logger()


class CameraHandler:
    """Reads one camera until it is stopped. Started once; changed settings need a new handler and slot.

    Runs have generation numbers. Reports of another generation than the current one are dropped: each report
    is checked and applied under one lock, and the slot takes frames of the newest writer only.
    """

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
        """
        held_seconds: delay before the first attempt, because the stream crashed the process.
        wanted_fps: frame rate that the analysis wants now; default: `max_fps`.
        decode_load: the one that `open_source` passes to the source.
        read_by: another box that reads this camera; if set, the camera is not opened here.
        """
        self.settings = settings
        self._held_seconds = held_seconds
        self._slot = slot
        self._observer = observer
        self._open_source = open_source
        self._backoff = ReconnectBackoff(settings, backoff)
        self._health = CameraHealth(settings.id, observer, live=settings.kind is not UrlKind.FILE)
        self._stats = CameraStats(settings)
        # Reentrant, because an observer may read the status.
        self._lock = threading.RLock()
        self._generation = 0
        self._stopped = False
        self._run: SourceRun | None = None
        self._thread: threading.Thread | None = None
        self._timing = StreamTiming(settings.speed)
        self._sampler = FrameSampler()
        self._decode_report = DecodeReport(settings, observer, decode_load or DecodeLoad())
        self._wanted_fps = wanted_fps or (lambda: settings.max_fps)
        self._reads_camera = settings.enabled and not read_by
        if not settings.enabled:
            self._health.finished("disabled", "disabled in its settings")
        elif read_by:
            self._health.finished("elsewhere", f"box {read_by} reads it")

    @property
    def status(self) -> CameraStatus:
        """Snapshot of the camera; reading it changes nothing."""
        return self._stats.status(self._health.condition())

    def refresh(self) -> None:
        """Apply state changes that come with time alone; called periodically."""
        self._health.refresh()

    @property
    def overloaded(self) -> bool:
        """Whether an overload limits decoding to key frames while nothing happens."""
        return self._decode_report.overloaded

    def start(self) -> None:
        """Start the camera's thread. Only closes the slot if this box does not read the camera."""
        if not self._reads_camera:
            self._slot.close()
            return
        with self._lock:
            self._begin_run()

    def ask_to_stop(self) -> None:
        """Begin to stop; returns at once. The slot then accepts nothing but the end of the stream."""
        with self._lock:
            self._give_up_run()
            self._stopped = True
            self._slot.close()
            if self._health.condition().reason not in ("disabled", "elsewhere", "ended"):
                self._health.finished("stopped", "")

    def stop(self, timeout: float = 1.5) -> bool:
        """`ask_to_stop`, then wait for the thread for up to `timeout` seconds.

        False if the thread is still inside FFmpeg, which cannot be interrupted while it connects or waits for
        a stalled stream. It ends at its own timeout, changes nothing until then, and does not delay the exit
        of the process.
        """
        self.ask_to_stop()
        return self.join(timeout)

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the end of the thread; whether it has ended."""
        if self._thread is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def hung_seconds(self) -> float:
        """For how long the thread has hung; 0 while it works, waits within its timeouts, or has ended."""
        run, thread = self._run, self._thread
        if run is None or thread is None or not thread.is_alive() or run.stopping.is_set():
            return 0.0
        return run.watchdog.hung_seconds()

    def stall(self) -> Stall | None:
        """The stall, if the thread waits longer than the usual gap between packets; otherwise None."""
        run = self._run
        return None if run is None or run.stopping.is_set() else run.watchdog.stall(self._health.usual_gap)

    def reopen(self, stall: Stall) -> bool:
        """Give up the run that stalls and open the camera on a new thread; False if it makes progress again.

        The old thread ends when FFmpeg returns. Its later reports are dropped.
        """
        with self._lock:
            if self._stopped or self.stall() != stall:
                return False
            self._give_up_run()
            message = f"{self.settings.masked_url}: silent, but it answers a new connection; reopened"
            self._health.failed(SourceError(Reason.STALLED, message), stall.since)
            self._count_reconnect(Reason.STALLED)
            # A slow camera also answers new connections; it must not be reopened repeatedly.
            self._begin_run(patient=True)
            return True

    def report_posting_error(self, message: str) -> None:
        """Show the camera as yellow for 30 s: sightings cannot be posted. The message holds no secrets."""
        self._health.posting_failed(message)

    def _begin_run(self, patient: bool = False) -> None:
        run = SourceRun(
            self.settings, self._generation, self._slot.writer(), self._open_source, self, patient
        )
        # A daemon thread: FFmpeg cannot be interrupted while it connects, and must not delay the exit.
        thread = threading.Thread(
            target=with_crash_tag(self.settings.crash_tag, self._read_until_stopped),
            args=(run,),
            name=f"camera {self.settings.id}",
            daemon=True,
        )
        self._run, self._thread = run, thread
        thread.start()
        log.debug("camera's thread begins", camera=self.settings.id, thread=thread.native_id)

    def _give_up_run(self) -> None:
        self._decode_report.flush()
        self._generation += 1
        if self._run is not None:
            self._run.stopping.set()

    def _is_current(self, run: SourceRun) -> bool:
        """Call and act on the answer while holding the lock."""
        return run.generation == self._generation

    def _read_until_stopped(self, run: SourceRun) -> None:
        """The body of a run's thread."""
        held_seconds, self._held_seconds = self._held_seconds, 0.0
        if held_seconds:
            self._hold(run, held_seconds)
        while not run.stopping.is_set():
            try:
                self._play(run)
            except SourceError as error:
                self._retry_after(run, error)
            else:
                self._end(run)
                return

    def _hold(self, run: SourceRun, seconds: float) -> None:
        minutes = f"{seconds / 60:.0f} minutes"
        message = f"{self.settings.masked_url}: decoding it crashed the process; paused for {minutes}"
        with self._lock:
            if not self._is_current(run):
                return
            self._health.failed(SourceError(Reason.CRASHED, message))
        self._reconnect_after(run, seconds, Reason.CRASHED)

    def _retry_after(self, run: SourceRun, error: SourceError) -> None:
        """Show the failure and pause before the next attempt."""
        with self._lock:
            if not self._is_current(run):
                return
            run.writer.end()
            self._health.failed(error)
            run.watchdog.pausing()
            seconds = self._backoff.pause_seconds(error.reason)
        self._reconnect_after(run, seconds, error.reason)

    def _reconnect_after(self, run: SourceRun, seconds: float, reason: Reason) -> None:
        run.stopping.wait(seconds)
        with self._lock:
            if self._is_current(run):
                self._count_reconnect(reason)

    def _end(self, run: SourceRun) -> None:
        with self._lock:
            if self._is_current(run):
                log.info("recording was played to its end", camera=self.settings.id)
                self._health.finished("ended", "the recording was played to its end")
                self._slot.close()

    def _play(self, run: SourceRun) -> None:
        """Play the source until it ends for good or the run is stopped. Raises SourceError."""
        while not run.stopping.is_set():
            try:
                frames = run.play()
            finally:
                with self._lock:
                    if self._is_current(run):
                        self._decode_report.flush()
            if frames == 0 and not run.stopping.is_set():
                raise SourceError(Reason.CORRUPT, f"{self.settings.masked_url}: no picture could be decoded")
            if not self.settings.loop:
                return
            if frames == 1:
                run.stopping.wait(SINGLE_PICTURE_SECONDS)

    # cameras.source_run.RunListener
    def opened(self, run: SourceRun, info: StreamInfo) -> None:
        with self._lock:
            if not self._is_current(run):
                return
            self._health.connected(live=not info.recorded, frame_seconds=1 / info.fps if info.fps else 0.0)
            self._stats.connected(info)
            if self._timing.opened(info):
                self._sampler.restart()

    def frame(self, run: SourceRun, frame: DecodedFrame, info: StreamInfo) -> None:
        lossless = info.recorded and self.settings.is_lossless
        with self._lock:
            if not self._is_current(run):
                return
            stamp, wait_seconds = self._timing.stamp(frame, info)
            if stamp.clock_was_set_back:
                # Visits would end before they began.
                run.writer.end()
        wait_or_stop(wait_seconds, run.stopping)
        # Lossless playback must not depend on how busy the analysis is.
        fps = self.settings.max_fps if lossless else self._wanted_fps()
        if not self._count_frame(run, frame, stamp, fps):
            return
        captured = Frame(self.settings.id, stamp.captured_at, stamp.media_time, frame.pixels)
        # Late frames come in a burst: without a wait the newest would replace all others.
        run.writer.put(captured, lossless or frame.late, None if lossless else LATE_FRAME_WAIT_SECONDS)

    def undecoded(self, run: SourceRun, packet: UndecodedPacket) -> None:
        with self._lock:
            if not self._is_current(run):
                return
            self._health.undecoded_packet()
            if packet.dropped:
                self._observer.skipped(self.settings.id, "busy")
            wait_seconds = self._timing.wait_seconds(packet)
        wait_or_stop(wait_seconds, run.stopping)

    def damaged(self, run: SourceRun) -> None:
        with self._lock:
            if self._is_current(run):
                self._health.damaged_frame()
                self._observer.skipped(self.settings.id, "corrupt")

    def awaiting_key_frame(self, run: SourceRun, seconds: float) -> None:
        with self._lock:
            if self._is_current(run):
                self._health.awaiting_key_frame(seconds)

    def fps_measured(self, run: SourceRun, fps: float) -> None:
        with self._lock:
            if self._is_current(run):
                self._stats.measured(fps)

    def steady(self, run: SourceRun) -> None:
        with self._lock:
            if self._is_current(run):
                self._backoff.reset()

    def _count_frame(self, run: SourceRun, frame: DecodedFrame, stamp: Stamp, fps: float) -> bool:
        """Count a frame; returns whether it goes to the analysis."""
        with self._lock:
            if not self._is_current(run):
                return False
            self._stats.frame()
            self._health.frame()
            due = self._sampler.is_due(stamp.media_time, fps)
            self._decode_report.frame(frame.decode_seconds, stamp.media_time, analysed=due)
            if due:
                self._sampler.record(stamp.media_time, fps)
                self._stats.picture((frame.pixels.width, frame.pixels.height))
            return due

    def _count_reconnect(self, reason: Reason) -> None:
        self._stats.reconnect()
        self._observer.reconnect(self.settings.id, reason.value)

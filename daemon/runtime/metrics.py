"""All metrics of Facend. Dashboards and alert rules depend on their names.

`Metrics` is the observer of the pipeline, the cameras and the store, and a subscriber of the event bus.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from cameras.errors import Reason
from cameras.observer import CameraState
from daemon.events.types import (
    EVENTS,
    CameraRemoved,
    CameraStateChanged,
    Event,
    SightingStored,
    VisitEnded,
)
from daemon.runtime.gauges import Gauges
from pipeline.visits.best_shot import ShotOutcome
from store.observer import PersonOutcome, SightingOutcome

CAMERA_STATES = tuple(state.value for state in CameraState)
RECONNECT_REASONS = tuple(reason.value for reason in Reason)
SKIP_REASONS = ("motion", "busy", "corrupt")
SHOT_OUTCOMES = tuple(outcome.value for outcome in ShotOutcome)
SIGHTING_OUTCOMES: tuple[str, ...] = get_args(SightingOutcome)
PERSON_OUTCOMES: tuple[str, ...] = get_args(PersonOutcome)
ConnectionEnd = Literal["refused", "evicted", "slow_request", "slow_reader"]
"""Why an HTTP connection was closed: all connections were busy (refused); it made room for a new one
(evicted); the request, or reading the response, took too long (slow_request, slow_reader)."""
CONNECTION_ENDS: tuple[str, ...] = get_args(ConnectionEnd)
STAGES = (
    "decode",
    "convert",
    "motion",
    "detect",
    "track",
    "quality",
    "embed",
    "attributes",
    "identify",
    "store",
    "upload",
)

STAGE_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
AGE_BUCKETS = (0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0)
LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0)
COUNTED_EVENTS: tuple[type[Event], ...] = (CameraStateChanged, CameraRemoved, SightingStored, VisitEnded)
"""The events that `Metrics.count_event` counts."""
JOB_BUCKETS = (0.1, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)
"""Nightly jobs take from less than a second to hours on a full store."""


class Metrics:
    """One process's metrics, and the observer of the pipeline, the cameras and the store."""

    def __init__(self, *, version: str, pack: str, runtime: str) -> None:
        # A setting of the whole process. Creation times are not used, and double the size of a scrape.
        disable_created_metrics()  # type: ignore[no-untyped-call] # the library has no annotation for it
        self.registry = registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self.gauges = Gauges()
        registry.register(self.gauges)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(name, text, labels, buckets=buckets, registry=registry)

        build = Gauge(
            "facend_build_info",
            "Version, model pack and runtime; always 1",
            ("version", "pack", "runtime"),
            registry=registry,
        )
        build.labels(version, pack, runtime).set(1)
        self._state = Gauge(
            "facend_camera_state",
            "1 for the current state of the camera",
            ("camera", "state"),
            registry=registry,
        )
        self._reconnects = counter(
            "facend_camera_reconnects_total",
            "Lost connections that were retried",
            "camera",
            "reason",
        )
        self._decoded = counter("facend_frames_decoded_total", "Frames decoded", "camera")
        self._analysed = counter("facend_frames_analysed_total", "Frames passed to the detector", "camera")
        self._skipped = counter(
            "facend_frames_skipped_total", "Frames that were not analysed, by reason", "camera", "reason"
        )
        self._age = histogram(
            "facend_frame_age_seconds", "Time from capture to the end of analysis", AGE_BUCKETS, "camera"
        )
        self._stage = histogram("facend_stage_seconds", "Time spent in a stage", STAGE_BUCKETS, "stage")
        self._faces = counter("facend_faces_detected_total", "Faces detected in frames", "camera")
        self._visits = counter("facend_visits_total", "Visits that ended", "camera")
        self._shots = counter("facend_shots_total", "Shots by outcome", "camera", "outcome")
        self._sightings = counter("facend_sightings_total", "Sightings by outcome", "camera", "outcome")
        self._persons = counter(
            "facend_persons_total", "Identified sightings by outcome", "camera", "outcome"
        )
        self._friends = counter("facend_friends_total", "Sightings of a friend of the camera", "camera")
        self._store = histogram(
            "facend_store_seconds", "Duration of a store operation", STAGE_BUCKETS, "operation"
        )
        self._store_errors = counter(
            "facend_store_errors_total", "Store operations that failed", "operation", "kind"
        )
        self._uploaded = counter("facend_uploads_bytes_total", "Bytes of pictures stored")
        self._job = histogram("facend_job_seconds", "Duration of a periodic job", JOB_BUCKETS, "job")
        self._job_failures = counter("facend_job_failures_total", "Failed runs of a periodic job", "job")
        self._clock_steps = counter(
            "facend_clock_steps_total", "Steps of the box's clock by a second or more", "direction"
        )
        for direction in ("back", "ahead"):
            self._clock_steps.labels(direction)
        self._lag = histogram(
            "facend_event_loop_lag_seconds", "Delay of timers on the event loop", LAG_BUCKETS
        )
        self._connections_ended = counter(
            "facend_http_connections_ended_total", "HTTP connections ended by the daemon, by reason", "reason"
        )
        self._events = counter("facend_events_total", "Events published on the event bus", "type")
        self._events_dropped = counter(
            "facend_events_dropped_total", "Events that a subscriber was too slow to receive", "subscriber"
        )
        self._deliveries = counter(
            "facend_sink_deliveries_total",
            "Attempts to deliver an event to a sink, by outcome",
            "sink",
            "outcome",
        )
        self._sink_pending = Gauge(
            "facend_sink_pending", "Events that wait for a sink", ("sink",), registry=registry
        )
        self._sink_oldest = Gauge(
            "facend_sink_oldest_seconds",
            "Age of the oldest event that waits for a sink",
            ("sink",),
            registry=registry,
        )
        for event in EVENTS:
            self._events.labels(event.type)
        for reason in CONNECTION_ENDS:
            self._connections_ended.labels(reason)
        for stage in STAGES:
            self._stage.labels(stage)

    def add_camera(self, cam_id: str) -> None:
        """Create all series of a camera at 0.

        If a series began with the first event, at 1, rate() would miss that event, and a sum over events that
        never happened would be empty instead of 0.
        """
        for plain in (self._decoded, self._analysed, self._faces, self._visits, self._friends, self._age):
            plain.labels(cam_id)
        for counter, values in (
            (self._reconnects, RECONNECT_REASONS),
            (self._skipped, SKIP_REASONS),
            (self._shots, SHOT_OUTCOMES),
            (self._sightings, SIGHTING_OUTCOMES),
            (self._persons, PERSON_OUTCOMES),
        ):
            for value in values:
                counter.labels(cam_id, value)

    def add_job(self, name: str) -> None:
        """Create all series of a job at 0, as `add_camera` does."""
        self._job.labels(name)
        self._job_failures.labels(name)

    def clock_stepped(self, seconds: float) -> None:
        """The box's clock was set; negative: back."""
        self._clock_steps.labels("back" if seconds < 0 else "ahead").inc()

    # pipeline.types.PipelineObserver, without visits
    def stage(self, stage: str, seconds: float) -> None:
        self._stage.labels(stage).observe(seconds)

    def faces_detected(self, cam_id: str, count: int) -> None:
        self._faces.labels(cam_id).inc(count)

    def shot(self, cam_id: str, outcome: str) -> None:
        self._shots.labels(cam_id, outcome).inc()

    def analysed(self, cam_id: str) -> None:
        self._analysed.labels(cam_id).inc()

    def skipped(self, cam_id: str, reason: str) -> None:
        self._skipped.labels(cam_id, reason).inc()

    # cameras.observer.CameraObserver, without states
    def frames_decoded(self, cam_id: str, seconds: Sequence[float]) -> None:
        self._decoded.labels(cam_id).inc(len(seconds))
        decoding = self._stage.labels("decode")
        for each in seconds:
            decoding.observe(each)

    def reconnect(self, cam_id: str, reason: str) -> None:
        self._reconnects.labels(cam_id, reason).inc()

    # store.observer.StoreObserver
    def operation(self, name: str, seconds: float) -> None:
        self._store.labels(name).observe(seconds)

    def error(self, operation: str, kind: str) -> None:
        self._store_errors.labels(operation, kind).inc()

    def sighting(self, cam_id: str, outcome: str) -> None:
        self._sightings.labels(cam_id, outcome).inc()

    def uploaded(self, size: int) -> None:
        self._uploaded.inc(size)

    # daemon.events.bus.BusObserver
    def event_published(self, event_type: str) -> None:
        self._events.labels(event_type).inc()

    def event_dropped(self, subscriber: str) -> None:
        self._events_dropped.labels(subscriber).inc()

    # daemon.events.sinks.dispatch.DeliveryObserver
    def delivery(self, sink: str, outcome: str) -> None:
        self._deliveries.labels(sink, outcome).inc()

    def deliveries_waiting(self, sink: str, pending: int, oldest_seconds: float) -> None:
        self._sink_pending.labels(sink).set(pending)
        self._sink_oldest.labels(sink).set(oldest_seconds)

    def count_event(self, event: Event) -> None:
        """Count one of `COUNTED_EVENTS`."""
        match event:
            case CameraStateChanged(cam_id=cam_id, state=state):
                for name in CAMERA_STATES:
                    self._state.labels(cam_id, name).set(name == state)
            case CameraRemoved(cam_id=cam_id):
                self._forget_state(cam_id)
            case VisitEnded(cam_id=cam_id):
                self._visits.labels(cam_id).inc()
            case SightingStored(stored=stored):
                self._persons.labels(stored.cam_id, stored.outcome).inc()
                if stored.friend:
                    self._friends.labels(stored.cam_id).inc()

    # the daemon's own
    def frame_age(self, cam_id: str, captured_at: datetime) -> None:
        self._age.labels(cam_id).observe(max(0.0, (datetime.now(UTC) - captured_at).total_seconds()))

    def connection_ended(self, reason: str) -> None:
        self._connections_ended.labels(reason).inc()

    def loop_lag(self, seconds: float) -> None:
        self._lag.observe(seconds)

    @contextmanager
    def job(self, name: str) -> Iterator[None]:
        """Measure a job; an exception counts as a failure and propagates."""
        started = time.perf_counter()
        failures = self._job_failures.labels(name)
        try:
            yield
        except BaseException:
            failures.inc()
            raise
        finally:
            self._job.labels(name).observe(time.perf_counter() - started)

    def _forget_state(self, cam_id: str) -> None:
        """Remove the state of a camera that is gone; its counters stay."""
        for name in CAMERA_STATES:
            with suppress(KeyError):
                self._state.remove(cam_id, name)

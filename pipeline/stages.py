"""The stages of one camera, from frames to sightings.

A downscaled frame goes to the detector, the detections to the tracker, and the tracks to their visits. Only
the few shots for a visit's facen are converted to BGR at full size, cropped and embedded; only the posted
shot is encoded.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from pipeline.extractor import moved, scaled
from pipeline.faces.orientation import OrientationMonitor
from pipeline.frame_sampler import EARLY_SECONDS, FrameSampler
from pipeline.models.loader import Models
from pipeline.tracking.scene_cuts import CutDetector
from pipeline.tracking.search_areas import SearchAreas
from pipeline.tracking.tracker import Track, Tracker, TrackerSettings
from pipeline.types import Detection, Frame, PipelineObserver, Rectangle, Scene, Sighting
from pipeline.visits.appearance_matcher import AppearanceMatcher
from pipeline.visits.best_shot import Posting
from pipeline.visits.poster import Poster, timed
from pipeline.visits.regions import EVERYWHERE, Region
from pipeline.visits.visits import ShotRules, Visits, lies_in

MotionCheck = Callable[[Frame], Scene]
"""The motion gate: classifies a frame by comparison with the previous frames."""

_CLOCK_JUMP_SECONDS = 30.0
"""A gap in media time that ends all visits."""


@dataclass(frozen=True, slots=True)
class StageSettings:
    """Settings of one camera's stages."""

    posting: Posting = Posting.OVERALL
    post_interval_seconds: float = 1.0
    """Minimum interval between two posts of one visit."""
    min_face_px: int = 30
    """Shorter side of the face box in the full frame."""
    min_score: float = -4.0
    """Minimum quality score of a shot."""
    store_unrecognisable: bool = False
    """Also post shots below the limit of recognisability. Their score is too low to create a person."""
    roi: Region = EVERYWHERE
    """Region for the centres of faces that are posted."""
    rot: Region = EVERYWHERE
    """Region for the centres of faces that are tracked."""
    detect_size: int = 640
    """Longer side of the detector's picture in pixels."""
    max_fps: float = 10.0
    """Maximum rate of analysis, per second of media time, while faces are in view and something moves."""
    search_fps: float = 5.0
    """Maximum rate of analysis while something moves and no face is in view."""
    still_fps: float = 2.0
    """Maximum rate of the motion gate while nothing moves and no face is in view."""
    idle_fps: float = 2.0
    """Maximum rate of analysis while faces are in view and nothing moves."""
    full_search_seconds: float = 0.5
    """Interval between searches of the whole picture while faces are in view."""
    start_score: float = 0.6
    """Minimum detector score to begin a track."""
    track_timeout_seconds: float = 1.5
    """Maximum time without detection, occlusion aside, before a visit ends."""
    visit_shots: int = 4
    """Maximum number of shots in a visit's facen."""
    max_visit_seconds: float = 60.0
    """Maximum time until a shot of an ongoing visit is posted."""


class CameraStages:
    """Tracker, visits and best shots of one camera. Deterministic: the same frames result in the same
    sightings. Not thread-safe; the models may be shared with other cameras."""

    def __init__(
        self,
        cam_id: str,
        models: Models,
        settings: StageSettings,
        observer: PipelineObserver,
        motion_check: MotionCheck | None = None,
    ) -> None:
        """`motion_check`: default: every frame counts as moving."""
        self._cam_id = cam_id
        self._models = models
        self._settings = settings
        self._observer = observer
        self._motion_check = motion_check
        self._tracker = Tracker(TrackerSettings(settings.start_score, settings.track_timeout_seconds))
        rules = ShotRules(
            settings.posting,
            settings.post_interval_seconds,
            settings.min_face_px,
            settings.min_score,
            settings.roi,
            settings.visit_shots,
            settings.store_unrecognisable,
            settings.max_visit_seconds,
        )
        self._visits = Visits(cam_id, rules, models, observer)
        self._poster = Poster(cam_id, models, observer)
        self._appearance = AppearanceMatcher(
            self._visits, self._poster, models.near_detector, models.pack.thresholds.low
        )
        self._orientation = OrientationMonitor(models.detector)
        self._last_frame: float | None = None
        self._size: tuple[int, int] | None = None
        self._last_analysed: float | None = None
        self._rate = FrameSampler()
        self._search = SearchAreas(settings.full_search_seconds)
        self._cuts = CutDetector()
        self._places: list[Rectangle] = []
        """Boxes of known faces if a search around them is sufficient; see
        `pipeline.tracking.search_areas`."""
        self._has_detections = False
        """Whether the last analysed frame had a detection, low scores included."""
        self._in_view = False
        self._still = False
        """Whether nothing moved in the last frame, and no visit is ongoing."""

    @property
    def busy(self) -> bool:
        """Whether a visit is ongoing, which gives this camera priority."""
        return bool(self._tracker.tracks)

    @property
    def in_view(self) -> bool:
        """Whether the last analysed frame had a tracked face. Safe to read from another thread."""
        return self._in_view

    @property
    def wanted_fps(self) -> float:
        """The frame rate that the stages need at present. Safe to read from another thread."""
        settings = self._settings
        if self._has_detections:
            return settings.max_fps
        return min(settings.max_fps, settings.still_fps if self._still else settings.search_fps)

    @property
    def orientation_degrees(self) -> int:
        """Clockwise rotation of the faces: 0, or 90, 180, 270 if the camera is mounted rotated."""
        return self._orientation.degrees

    def process(self, frame: Frame) -> list[Sighting]:
        """Process the next frame; returns the sightings that are due."""
        now = frame.media_time
        sightings = self._end_visits_after_break(frame)
        self._last_frame = now
        if not self._rate.is_due(now, self.wanted_fps):
            return sightings
        self._rate.record(now, self.wanted_fps)
        scene = self._scene(frame)
        self._still = scene is not Scene.MOVING and not self.busy
        if scene is Scene.STILL:
            self._observer.skipped(self._cam_id, "motion")
            return sightings
        self._last_analysed = now
        if self._cuts.update(frame.pixels.luma(), now):
            sightings += self._end_visits()
        detections = self._detect(frame, scene)
        with self._timed("track"):
            seen, ended = self._tracker.update(detections, now, self._appearance.check(frame))
        self._has_detections, self._in_view = bool(detections), bool(seen)
        self._places = self._known_places(seen)
        with self._timed("quality"):
            self._visits.observe(seen, frame)
        self._poster.crop(self._visits.due_crops(now))
        self._poster.announce(self._visits.newly_usable(seen))
        posts = [*self._visits.end(ended), *self._visits.due_posts(self._tracker.tracks, now)]
        self._observer.analysed(self._cam_id)
        return sightings + self._poster.sightings(posts)

    def finish(self) -> list[Sighting]:
        """End all visits at the end of the stream; returns the remaining sightings."""
        self._last_frame = self._last_analysed = self._size = None
        self._has_detections = self._in_view = self._still = False
        self._rate.restart()
        self._cuts.restart()
        return self._end_visits()

    def _end_visits(self) -> list[Sighting]:
        """End all tracks and visits; returns the remaining sightings."""
        self._places = []
        return self._poster.sightings(self._visits.end(self._tracker.finish()))

    def _known_places(self, seen: Sequence[Track]) -> list[Rectangle]:
        """The boxes of these tracks. Empty if a track is lost, because its face may be anywhere."""
        # A detector of fixed input size gains nothing from a smaller area.
        if self._models.near_detector is None or len(seen) < len(self._tracker.tracks):
            return []
        return [track.detection.bbox for track in seen]

    def _timed(self, stage: str) -> AbstractContextManager[None]:
        return timed(self._observer, stage)

    def _end_visits_after_break(self, frame: Frame) -> list[Sighting]:
        """End all visits if the frame does not continue the previous one: the media time jumps (a clip
        restarts, a new stream), or the size of the picture changes, so that boxes are not comparable."""
        size = frame.pixels.width, frame.pixels.height
        last = self._last_frame
        is_continuous = last is None or 0 <= frame.media_time - last <= _CLOCK_JUMP_SECONDS
        sightings = [] if is_continuous and self._size in (None, size) else self.finish()
        self._size = size
        return sightings

    def _scene(self, frame: Frame) -> Scene:
        if self._motion_check is None:
            return Scene.MOVING
        with self._timed("motion"):
            scene = self._motion_check(frame)
        if scene is Scene.STILL and self.busy and self._is_idle_analysis_due(frame.media_time):
            return Scene.DUE
        return scene

    def _is_idle_analysis_due(self, now: float) -> bool:
        last = self._last_analysed
        return last is None or now - last >= 1 / self._settings.idle_fps - EARLY_SECONDS

    def _detect(self, frame: Frame, scene: Scene) -> list[Detection]:
        """The detections of a frame inside `rot`, in pixels of the full frame."""
        width, height = frame.pixels.width, frame.pixels.height
        factor = min(1.0, self._settings.detect_size / max(width, height))
        size = max(1, round(width * factor)), max(1, round(height * factor))
        area = self._search.next_area(self._places, *size, factor, frame.media_time)
        with self._timed("convert"):
            small = frame.pixels.bgr(*size)
        with self._timed("detect"):
            found = self._models.detector.detect(small if area is None else area.crop(small))
            if area is None and scene is Scene.MOVING:
                self._orientation.update(small, frame.media_time, upright=self._visits.any_good)
        if area is not None:
            found = [moved(face, area.left, area.top) for face in found]
        faces = [scaled(face, width / size[0], height / size[1]) for face in found]
        faces = [face for face in faces if lies_in(self._settings.rot, face, frame)]
        certain = sum(face.score >= self._settings.start_score for face in faces)
        self._observer.faces_detected(self._cam_id, certain)
        return faces

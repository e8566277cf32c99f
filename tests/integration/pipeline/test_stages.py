"""From frames to sightings, with the real models and real faces."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

import cv2
import numpy as np
import pytest

from pipeline.faces.detector import Detector
from pipeline.faces.facen import confidence
from pipeline.models.loader import Models
from pipeline.stages import CameraStages, StageSettings
from pipeline.types import (
    ArrayPixels,
    Detection,
    EndedVisit,
    FaceAttributes,
    Frame,
    Picture,
    Rectangle,
    Scene,
    Sighting,
    StartedVisit,
    UnobservedPipeline,
)
from pipeline.visits.best_shot import Posting
from pipeline.visits.regions import Region
from tests.faces import START, empty, frame, placed, portrait, walk, wall


class Counting(UnobservedPipeline):
    """An observer that counts events."""

    def __init__(self) -> None:
        self.shots: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.started: list[StartedVisit] = []
        self.ended: list[EndedVisit] = []

    def shot(self, cam_id: str, outcome: str) -> None:
        self.shots[outcome] += 1

    def visit_started(self, visit: StartedVisit) -> None:
        self.started.append(visit)

    def visit_ended(self, visit: EndedVisit) -> None:
        self.ended.append(visit)
        self.counts["visits"] += 1

    def analysed(self, cam_id: str) -> None:
        self.counts["analysed"] += 1

    def skipped(self, cam_id: str, reason: str) -> None:
        self.counts[reason] += 1

    def faces_detected(self, cam_id: str, count: int) -> None:
        self.counts["faces"] += count


class Doubtful:
    """A real detector with lower scores."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector

    def detect(self, picture: Picture) -> list[Detection]:
        return [replace(face, score=0.75) for face in self._detector.detect(picture) if face.score >= 0.75]


class Fooled:
    """A real detector that also detects a face in a piece of wall in each full picture."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector

    def detect(self, picture: Picture) -> list[Detection]:
        found = self._detector.detect(picture)
        if picture.shape[:2] != (192, 320):
            return found
        landmarks = np.array([[20, 40], [44, 40], [32, 54], [23, 68], [41, 68]], np.float32)
        return [*found, Detection(Rectangle(5, 15, 60, 90), 0.8, landmarks)]


def run(stages: CameraStages, frames: Iterable[Frame], finish: bool = True) -> list[Sighting]:
    sightings = [sighting for one in frames for sighting in stages.process(one)]
    return sightings + (stages.finish() if finish else [])


def test_a_visit_is_posted_once_with_its_best_shot(models: Models) -> None:
    """A person who comes nearer results in one sighting, from the end, where the face is largest."""
    observer = Counting()
    stages = CameraStages("gate", models, StageSettings(), observer)
    (sighting,) = run(stages, [*walk(2, 2), *empty(2, start=2)], finish=False)
    assert sighting.cam_id == "gate"
    assert sighting.visit_id == "gate-20260301T120000.000000Z-1"
    assert sighting.media_time > 1
    assert sighting.captured_at == START + timedelta(seconds=sighting.media_time)
    assert sighting.pack == "opencv-zoo"
    assert -1.5 < sighting.score < 0
    photo = cv2.imdecode(np.frombuffer(sighting.photo, np.uint8), cv2.IMREAD_COLOR)
    assert photo is not None and photo.shape == (192, 320, 3)
    assert sighting.photo.startswith(b"\xff\xd8")
    normalized = cv2.imdecode(np.frombuffer(sighting.normalized, np.uint8), cv2.IMREAD_COLOR)
    assert normalized is not None and normalized.shape == (112, 112, 3)
    assert float(models.embedder.embed([np.asarray(normalized, np.uint8)])[0] @ sighting.facen) > 0.97
    assert sighting.shots == sighting.detector_info["shots"] == 4
    assert sighting.detector_info["posting"] == "overall"
    assert set(sighting.detector_info["quality"]) > {
        "yaw",
        "roll",
        "size",
        "sharpness",
        "exposure",
        "outside",
    }
    assert observer.counts["visits"] == 1
    assert observer.shots["posted"] == 1


def test_a_visit_is_announced_with_its_first_usable_face_and_once_when_it_ends(models: Models) -> None:
    """The start is reported during the visit, the end with its time."""
    observer = Counting()
    stages = CameraStages("gate", models, StageSettings(), observer)
    frames = list(walk(2, 2))
    run(stages, frames[:8], finish=False)
    (started,) = observer.started
    assert started.visit_id == "gate-20260301T120000.000000Z-1"
    assert started.started_at == START
    assert started.seen_at - START <= timedelta(seconds=0.5)
    assert (started.pack, started.facen.shape) == ("opencv-zoo", (128,))
    assert not observer.ended
    run(stages, frames[8:])
    (ended,) = observer.ended
    assert observer.started == [started]
    assert ended.sighting_follows
    assert (ended.visit_id, ended.started_at, ended.usable) == (started.visit_id, START, True)
    assert timedelta(seconds=1.5) < ended.ended_at - START < timedelta(seconds=2)


def test_the_announced_facen_matches_the_sighting(models: Models) -> None:
    """Another person's does not."""
    observer = Counting()
    sightings = [
        one
        for person in (2, 0)
        for one in run(CameraStages("gate", models, StageSettings(), observer), walk(person, 2))
    ]
    alike = [[float(begun.facen @ one.facen) for one in sightings] for begun in observer.started]
    low = models.pack.thresholds.low
    assert [[confidence(value) >= low for value in row] for row in alike] == [
        [True, False],
        [False, True],
    ]


def test_a_long_visit_is_posted_meanwhile_under_the_same_id(models: Models) -> None:
    """At most `max_visit_seconds` after the first usable face, and again when it ends."""
    stages = CameraStages("gate", models, StageSettings(max_visit_seconds=1), Counting())
    frames = list(walk(2, 3))
    meanwhile = run(stages, frames[:20], finish=False)
    assert meanwhile
    assert meanwhile[0].media_time <= 1.5
    sightings = meanwhile + run(stages, frames[20:])
    assert {one.visit_id for one in sightings} == {"gate-20260301T120000.000000Z-1"}
    assert {one.detector_info["posting"] for one in sightings} == {"overall"}
    assert [("visit_ended_at" in one.detector_info) for one in meanwhile] == [False] * len(meanwhile)
    assert len(sightings) > len(meanwhile)
    assert "visit_ended_at" in sightings[-1].detector_info


def test_a_visit_without_a_usable_face_is_not_announced(models: Models) -> None:
    """Faces that are too small make a visit that ends but was not announced."""
    observer = Counting()
    run(CameraStages("gate", models, StageSettings(min_face_px=1000), observer), walk(2, 1))
    assert (observer.started, [ended.usable for ended in observer.ended]) == ([], [False])


def test_unrecognisable_shots_are_not_posted(models: Models) -> None:
    """A piece of wall that the detector takes for a face is `unrecognisable`. With `store_unrecognisable` it
    is posted, with a quality score that creates no person."""
    fooled = replace(models, detector=Fooled(models.detector))
    observer = Counting()
    frames = [*walk(2, 1)]
    (person,) = run(CameraStages("gate", fooled, StageSettings(), observer), frames)
    assert person.bbox.left > 60
    assert observer.shots["unrecognisable"] >= 7
    settings = StageSettings(min_score=-10, store_unrecognisable=True)
    both = run(CameraStages("gate", fooled, settings, UnobservedPipeline()), frames)
    wall_shot, again = sorted(both, key=lambda sighting: sighting.bbox.left)
    assert wall_shot.score < -3 < again.score
    assert wall_shot.detector_info["quality"]["recognisability"] == -3


def test_false_detections_are_not_co_visible(models: Models) -> None:
    """Only visits with a shot worth posting count as other people."""
    fooled = replace(models, detector=Fooled(models.detector))

    def three() -> Iterable[Frame]:
        for number in range(12):
            scene = wall()
            for person, x in ((2, 130), (5, 250)):
                placed(scene, portrait(person, 70), x, 96)
            yield frame(scene, number / 8)

    first, second = run(CameraStages("gate", fooled, StageSettings(), UnobservedPipeline()), three())
    assert (first.co_visible, second.co_visible) == ((second.visit_id,), (first.visit_id,))


def test_every_shot_has_one_outcome(models: Models) -> None:
    """The sum of the outcomes is the number of detected faces."""
    observer = Counting()
    run(CameraStages("gate", models, StageSettings(), observer), walk(0, 1.5))
    assert sum(observer.shots.values()) == observer.counts["faces"] > 10


def test_the_same_frames_result_in_the_same_sightings(models: Models) -> None:
    """Visits, pictures and facens are equal."""
    runs = [
        run(CameraStages("gate", models, StageSettings(), UnobservedPipeline()), walk(5, 1)) for _ in range(2)
    ]
    first, second = ([(s.visit_id, s.photo, s.normalized, s.facen.tobytes()) for s in run] for run in runs)
    assert first == second != []


def test_two_people_in_one_frame_are_not_mixed(models: Models) -> None:
    """Their visits end together, and their faces are cropped from the same frames."""

    def both() -> Iterable[Frame]:
        for number in range(8):
            scene = wall()
            placed(scene, portrait(0, 80), 80 + number, 96)
            placed(scene, portrait(5, 80), 240 - number, 96)
            yield frame(scene, number / 8)

    left, right = sorted(
        run(CameraStages("gate", models, StageSettings(), UnobservedPipeline()), both()),
        key=lambda s: s.bbox.left,
    )
    assert left.bbox.right < 160 < right.bbox.left
    assert float(left.facen @ right.facen) < 0.4


@pytest.mark.parametrize(
    ("posting", "modes"), [(Posting.REALTIME, {"realtime"}), (Posting.BOTH, {"realtime"})]
)
def test_realtime_posts_during_the_visit(models: Models, posting: Posting, modes: set[str]) -> None:
    """First within a second, and later only better shots."""
    settings = StageSettings(posting=posting, post_interval_seconds=0.5)
    stages = CameraStages("gate", models, settings, UnobservedPipeline())
    sightings = run(stages, walk(2, 2), finish=False)
    assert len(sightings) >= 2
    assert sightings[0].media_time < 1
    scores = [sighting.score for sighting in sightings]
    assert scores == sorted(scores)
    assert {sighting.detector_info["posting"] for sighting in sightings} == modes
    assert len({sighting.visit_id for sighting in sightings}) == 1


def test_rejected_shots_are_counted_by_outcome(models: Models) -> None:
    """Too small, of low quality, or outside `roi`."""
    for settings, outcome in (
        (StageSettings(min_face_px=200), "small"),
        (StageSettings(min_score=-0.01), "low_quality"),
        (StageSettings(roi=Region.from_shapes([[0, 0, 0.1, 0.1]])), "outside_roi"),
    ):
        observer = Counting()
        assert run(CameraStages("gate", models, settings, observer), walk(2, 1)) == []
        assert set(observer.shots) == {outcome}
        assert observer.counts["visits"] == 1


def test_faces_outside_rot_are_not_tracked(models: Models) -> None:
    """A face outside `rot` makes no visit and no shot."""
    observer = Counting()
    settings = StageSettings(rot=Region.from_shapes([[0, 0, 0.1, 1]]))
    assert run(CameraStages("gate", models, settings, observer), walk(2, 1)) == []
    assert (observer.shots, observer.counts["visits"]) == (Counter(), 0)


def test_an_inverted_camera_posts_nothing(models: Models) -> None:
    """Faces that are upside down are useless."""
    frames = [frame(np.asarray(cv2.flip(f.pixels.bgr(), -1), np.uint8), f.media_time) for f in walk(2, 1)]
    observer = Counting()
    assert run(CameraStages("gate", models, StageSettings(), observer), frames) == []


def test_media_time_that_jumps_back_ends_the_visits(models: Models) -> None:
    """The end of a looped clip is not joined to its beginning."""
    stages = CameraStages("gate", models, StageSettings(), UnobservedPipeline())
    frames = list(walk(2, 1))
    sightings = run(stages, [*frames, *frames])
    assert len(sightings) == 2
    assert sightings[0].visit_id != sightings[1].visit_id


def test_another_picture_size_ends_the_visits(models: Models) -> None:
    """Boxes in pictures of different sizes are not comparable."""
    observer = Counting()
    stages = CameraStages("gate", models, StageSettings(), observer)
    small = list(walk(2, 0.5))
    enlarged = np.asarray(cv2.resize(small[-1].pixels.bgr(), (384, 230)), np.uint8)
    large = [frame(enlarged, 0.5 + number / 8) for number in range(3)]
    sightings = run(stages, [*small, *large])
    photos = [cv2.imdecode(np.frombuffer(one.photo, np.uint8), cv2.IMREAD_COLOR) for one in sightings]
    assert [photo.shape[:2] for photo in photos if photo is not None] == [(192, 320), (230, 384)]
    assert observer.counts["visits"] == 2


def test_a_single_uncertain_detection_is_not_posted(models: Models) -> None:
    """It is counted as low_quality."""
    observer = Counting()
    stages = CameraStages(
        "gate", replace(models, detector=Doubtful(models.detector)), StageSettings(), observer
    )
    assert run(stages, [*list(walk(2, 1))[-1:], *empty(2, start=1, fps=2)]) == []
    assert (observer.shots, observer.counts["visits"]) == (Counter(low_quality=1), 0)


def test_the_analysis_rate_does_not_depend_on_the_frame_rate(models: Models) -> None:
    """Of 25 frames a second, 10 are analysed while a face is in view, and 5 before."""
    observer = Counting()
    stages = CameraStages("gate", models, StageSettings(max_fps=10), observer)
    run(stages, empty(4, start=0, fps=25), finish=False)
    assert observer.counts["analysed"] == pytest.approx(20, abs=1)
    person = list(walk(2, 1, start=4))[-1]
    run(stages, [frame(person.pixels.bgr(), 4 + number / 25) for number in range(50)])
    assert observer.counts["analysed"] == pytest.approx(20 + 20, abs=2)


def test_still_frames_are_skipped_unless_a_face_is_in_view(models: Models) -> None:
    """A face that stands still is analysed at intervals, and stays one visit."""
    scene, observer = Scene.STILL, Counting()
    stages = CameraStages("gate", models, StageSettings(), observer, motion_check=lambda _: scene)
    run(stages, empty(2, start=0), finish=False)
    assert observer.counts == Counter(motion=4)
    scene = Scene.MOVING
    person = list(walk(2, 3, start=2))[:4]
    run(stages, person, finish=False)
    scene = Scene.STILL
    standing = [frame(person[-1].pixels.bgr(), 2.5 + number / 8) for number in range(40)]
    before = observer.counts["analysed"]
    sightings = run(stages, standing)
    assert observer.counts["analysed"] - before == pytest.approx(10, abs=2)
    assert len(sightings) == 1


def test_in_view_ends_before_the_visit(models: Models) -> None:
    """The visit continues for a moment, because the face may return."""
    stages = CameraStages("gate", models, StageSettings(), UnobservedPipeline())
    assert not stages.in_view
    run(stages, list(walk(2, 3, start=0))[-4:], finish=False)
    assert stages.in_view
    run(stages, empty(1, start=3), finish=False)
    assert stages.busy
    assert not stages.in_view


def test_the_wanted_frame_rate_depends_on_the_scene(models: Models) -> None:
    """Still: 2, motion: 5, a face in view: 10 frames a second, each from the next frame on."""
    scene, observer = Scene.STILL, Counting()
    stages = CameraStages("gate", models, StageSettings(), observer, motion_check=lambda _: scene)
    assert stages.wanted_fps == 5
    run(stages, empty(3, start=0, fps=25), finish=False)
    assert observer.counts == Counter(motion=6)
    assert stages.wanted_fps == 2
    scene = Scene.MOVING
    run(stages, empty(3, start=3, fps=25), finish=False)
    assert observer.counts["analysed"] == pytest.approx(15, abs=1)
    run(stages, list(walk(2, 1, start=6))[-1:], finish=False)
    assert stages.wanted_fps == 10
    run(stages, empty(3, start=7, fps=25), finish=False)
    assert stages.wanted_fps == 5
    scene = Scene.DUE
    run(stages, empty(1, start=10, fps=25), finish=False)
    assert stages.wanted_fps == 2


class CountedPixels(ArrayPixels):
    """Pixels that record each conversion at full size."""

    def __init__(self, picture: Picture, wanted: list[int]) -> None:
        super().__init__(picture)
        self._wanted = wanted

    def bgr(self, width: int | None = None, height: int | None = None) -> Picture:
        if (width or self.width) == self.width:
            self._wanted.append(1)
        return super().bgr(width, height)


@pytest.mark.parametrize(("shots", "most"), [(1, 3), (4, 3)])
def test_full_frames_are_converted_only_for_crops(models: Models, shots: int, most: int) -> None:
    """At most one per interval between a visit's shots."""
    wanted: list[int] = []
    frames = []
    for one in walk(2, 1):
        large = np.asarray(cv2.resize(one.pixels.bgr(), (1280, 768)), np.uint8)
        frames.append(Frame(one.cam_id, one.captured_at, one.media_time, CountedPixels(large, wanted)))
    settings = StageSettings(visit_shots=shots)
    assert len(run(CameraStages("gate", models, settings, UnobservedPipeline()), frames)) == 1
    assert 1 <= len(wanted) <= most


class Describing:
    """Attributes that record their arguments."""

    def __init__(self) -> None:
        self.asked: list[tuple[Picture, Rectangle, Picture]] = []

    def describe(self, picture: Picture, bbox: Rectangle, aligned: Picture) -> FaceAttributes:
        self.asked.append((picture, bbox, aligned))
        return FaceAttributes("female", 30.0 + len(self.asked))


def test_attributes_are_computed_once_for_the_posted_shot(models: Models) -> None:
    """For the posted picture, box and aligned face; without models the sighting has no attributes."""
    describing = Describing()
    frames = list(walk(2, 1))
    stages = CameraStages("gate", replace(models, attributes=describing), StageSettings(), Counting())
    (sighting,) = run(stages, frames)
    ((picture, bbox, aligned),) = describing.asked
    assert sighting.attributes == FaceAttributes("female", 31.0)
    assert bbox == sighting.bbox
    assert picture.shape == (frames[0].pixels.height, frames[0].pixels.width, 3)
    posted = cv2.imdecode(np.frombuffer(sighting.normalized, np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(posted, aligned)
    (plain,) = run(CameraStages("gate", models, StageSettings(), Counting()), frames)
    assert plain.attributes == FaceAttributes()

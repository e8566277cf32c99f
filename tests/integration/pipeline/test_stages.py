"""From frames to sightings, with the real models on real faces."""

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
    """An observer that counts."""

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
    """A real detector that is less sure of what it finds."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector

    def detect(self, picture: Picture) -> list[Detection]:
        return [replace(face, score=0.75) for face in self._detector.detect(picture) if face.score >= 0.75]


class Fooled:
    """A real detector that also takes a piece of wall for a face in each whole picture."""

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
    """A person who comes nearer gives one sighting, whole, from the end of the way, where the face is
    largest."""
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
    """The start is known while the visit goes on, whatever is posted later; the end has its times."""
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


def test_the_face_that_announces_a_visit_is_the_visitors(models: Models) -> None:
    """Its facen matches that of the sighting, and another person's does not."""
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


def test_a_long_visit_is_posted_meanwhile_and_goes_on_under_its_id(models: Models) -> None:
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
    """Faces that are too small make a visit that ends, and no start."""
    observer = Counting()
    run(CameraStages("gate", models, StageSettings(min_face_px=1000), observer), walk(2, 1))
    assert (observer.started, [ended.usable for ended in observer.ended]) == ([], [False])


def test_what_is_no_recognisable_face_is_not_stored(models: Models) -> None:
    """A piece of wall that the detector takes for a face is a visit, but its shots are `unrecognisable`.
    Where the settings ask for it, it is stored with a quality score that creates no person."""
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


def test_what_is_no_face_is_not_co_visible(models: Models) -> None:
    """Only visits that turned out to be faces count as other people; the wall in each frame does not."""
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
    """The outcomes add up to the faces that were detected."""
    observer = Counting()
    run(CameraStages("gate", models, StageSettings(), observer), walk(0, 1.5))
    assert sum(observer.shots.values()) == observer.counts["faces"] > 10


def test_the_same_frames_give_the_same_sightings(models: Models) -> None:
    """A second run over the same frames gives the same visits, pictures and facens."""
    runs = [
        run(CameraStages("gate", models, StageSettings(), UnobservedPipeline()), walk(5, 1)) for _ in range(2)
    ]
    first, second = ([(s.visit_id, s.photo, s.normalized, s.facen.tobytes()) for s in run] for run in runs)
    assert first == second != []


def test_two_in_one_frame_do_not_mix(models: Models) -> None:
    """Visits that end together are cut from the same frames."""

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
def test_realtime_posts_while_the_visit_goes_on(models: Models, posting: Posting, modes: set[str]) -> None:
    """The first post comes within a second of the first look, and each later one is better."""
    settings = StageSettings(posting=posting, post_interval_seconds=0.5)
    stages = CameraStages("gate", models, settings, UnobservedPipeline())
    sightings = run(stages, walk(2, 2), finish=False)
    assert len(sightings) >= 2
    assert sightings[0].media_time < 1
    scores = [sighting.score for sighting in sightings]
    assert scores == sorted(scores)
    assert {sighting.detector_info["posting"] for sighting in sightings} == modes
    assert len({sighting.visit_id for sighting in sightings}) == 1


def test_small_bad_and_outside_shots_are_counted_and_not_posted(models: Models) -> None:
    """Faces under the size, under the quality and outside the region are turned down, each with its
    reason."""
    for settings, outcome in (
        (StageSettings(min_face_px=200), "small"),
        (StageSettings(min_score=-0.01), "low_quality"),
        (StageSettings(roi=Region.from_shapes([[0, 0, 0.1, 0.1]])), "outside_roi"),
    ):
        observer = Counting()
        assert run(CameraStages("gate", models, settings, observer), walk(2, 1)) == []
        assert set(observer.shots) == {outcome}
        assert observer.counts["visits"] == 1


def test_nobody_is_tracked_outside_the_region_of_tracking(models: Models) -> None:
    """A face outside `rot` makes no visit and no shot."""
    observer = Counting()
    settings = StageSettings(rot=Region.from_shapes([[0, 0, 0.1, 1]]))
    assert run(CameraStages("gate", models, settings, observer), walk(2, 1)) == []
    assert (observer.shots, observer.counts["visits"]) == (Counter(), 0)


def test_an_inverted_camera_posts_nothing(models: Models) -> None:
    """Faces that stand on their head are useless."""
    frames = [frame(np.asarray(cv2.flip(f.pixels.bgr(), -1), np.uint8), f.media_time) for f in walk(2, 1)]
    observer = Counting()
    assert run(CameraStages("gate", models, StageSettings(), observer), frames) == []


def test_a_clock_that_jumps_back_ends_the_visits(models: Models) -> None:
    """A clip that starts over does not join its end to its beginning."""
    stages = CameraStages("gate", models, StageSettings(), UnobservedPipeline())
    frames = list(walk(2, 1))
    sightings = run(stages, [*frames, *frames])
    assert len(sightings) == 2
    assert sightings[0].visit_id != sightings[1].visit_id


def test_another_picture_size_ends_the_visits(models: Models) -> None:
    """Boxes of a picture of another size lie elsewhere: nobody is followed from one into the other."""
    observer = Counting()
    stages = CameraStages("gate", models, StageSettings(), observer)
    small = list(walk(2, 0.5))
    enlarged = np.asarray(cv2.resize(small[-1].pixels.bgr(), (384, 230)), np.uint8)
    large = [frame(enlarged, 0.5 + number / 8) for number in range(3)]
    sightings = run(stages, [*small, *large])
    photos = [cv2.imdecode(np.frombuffer(one.photo, np.uint8), cv2.IMREAD_COLOR) for one in sightings]
    assert [photo.shape[:2] for photo in photos if photo is not None] == [(192, 320), (230, 384)]
    assert observer.counts["visits"] == 2


def test_what_was_seen_once_and_not_surely_is_no_visit(models: Models) -> None:
    """A single doubtful detection is posted nowhere, and its shot is counted as worth nothing."""
    observer = Counting()
    stages = CameraStages(
        "gate", replace(models, detector=Doubtful(models.detector)), StageSettings(), observer
    )
    assert run(stages, [*list(walk(2, 1))[-1:], *empty(2, start=1, fps=2)]) == []
    assert (observer.shots, observer.counts["visits"]) == (Counter(low_quality=1), 0)


def test_the_rate_holds_however_many_frames_come(models: Models) -> None:
    """At 25 frames a second and 10 wanted, 10 are analysed, not 8 and not 12, while a face is in view.
    Before, half as many."""
    observer = Counting()
    stages = CameraStages("gate", models, StageSettings(max_fps=10), observer)
    run(stages, empty(4, start=0, fps=25), finish=False)
    assert observer.counts["analysed"] == pytest.approx(20, abs=1)
    person = list(walk(2, 1, start=4))[-1]
    run(stages, [frame(person.pixels.bgr(), 4 + number / 25) for number in range(50)])
    assert observer.counts["analysed"] == pytest.approx(20 + 20, abs=2)


def test_still_frames_are_skipped_until_somebody_is_there(models: Models) -> None:
    """Without motion and without faces nothing is analysed; a face that stands still is looked at now and
    then, and stays one visit."""
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


def test_a_face_is_in_view_only_as_long_as_it_is_seen(models: Models) -> None:
    """The visit goes on a moment longer, since the face may come back."""
    stages = CameraStages("gate", models, StageSettings(), UnobservedPipeline())
    assert not stages.in_view
    run(stages, list(walk(2, 3, start=0))[-4:], finish=False)
    assert stages.in_view
    run(stages, empty(1, start=3), finish=False)
    assert stages.busy
    assert not stages.in_view


def test_the_rate_follows_what_happens(models: Models) -> None:
    """Of 25 frames a second 2 are asked whether anything moves, then 5 whether there is a face, then 10 are
    looked at, each from the next frame on; and only 2 again where everything has come to rest."""
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
    """Pixels that know how often the whole picture was wanted in colour."""

    def __init__(self, picture: Picture, wanted: list[int]) -> None:
        super().__init__(picture)
        self._wanted = wanted

    def bgr(self, width: int | None = None, height: int | None = None) -> Picture:
        if (width or self.width) == self.width:
            self._wanted.append(1)
        return super().bgr(width, height)


@pytest.mark.parametrize(("shots", "most"), [(1, 3), (4, 3)])
def test_full_frames_are_converted_only_where_a_face_is_cut(models: Models, shots: int, most: int) -> None:
    """Eight frames a second, a second long: not more whole frames than intervals between a visit's shots."""
    wanted: list[int] = []
    frames = []
    for one in walk(2, 1):
        large = np.asarray(cv2.resize(one.pixels.bgr(), (1280, 768)), np.uint8)
        frames.append(Frame(one.cam_id, one.captured_at, one.media_time, CountedPixels(large, wanted)))
    settings = StageSettings(visit_shots=shots)
    assert len(run(CameraStages("gate", models, settings, UnobservedPipeline()), frames)) == 1
    assert 1 <= len(wanted) <= most


class Describing:
    """Attributes that keep what they were asked about."""

    def __init__(self) -> None:
        self.asked: list[tuple[Picture, Rectangle, Picture]] = []

    def describe(self, picture: Picture, bbox: Rectangle, aligned: Picture) -> FaceAttributes:
        self.asked.append((picture, bbox, aligned))
        return FaceAttributes("female", 30.0 + len(self.asked))


def test_attributes_are_computed_once_for_the_posted_shot(models: Models) -> None:
    """Of the picture, box and aligned face that are posted; without models the sighting has none."""
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

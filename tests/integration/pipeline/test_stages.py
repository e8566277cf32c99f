"""From frames to sightings, with the real models and real faces."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

import cv2
import numpy as np
import pytest

from pipeline.faces.facen import confidence
from pipeline.models.loader import Models
from pipeline.stages import CameraStages, StageSettings
from pipeline.types import (
    FaceAttributes,
    Frame,
    Picture,
    Rectangle,
    UnobservedPipeline,
)
from pipeline.visits.best_shot import Posting
from tests.camera_stages import CountingObserver, run
from tests.faces import START, empty, frame, placed, portrait, walk, wall


def test_a_visit_is_posted_once_with_its_best_shot(models: Models) -> None:
    """A person who comes nearer results in one sighting, from the end, where the face is largest."""
    observer = CountingObserver()
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
    observer = CountingObserver()
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
    observer = CountingObserver()
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
    stages = CameraStages("gate", models, StageSettings(max_visit_seconds=1), CountingObserver())
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


def test_every_shot_has_one_outcome(models: Models) -> None:
    """The sum of the outcomes is the number of detected faces."""
    observer = CountingObserver()
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


def test_media_time_that_jumps_back_ends_the_visits(models: Models) -> None:
    """The end of a looped clip is not joined to its beginning."""
    stages = CameraStages("gate", models, StageSettings(), UnobservedPipeline())
    frames = list(walk(2, 1))
    sightings = run(stages, [*frames, *frames])
    assert len(sightings) == 2
    assert sightings[0].visit_id != sightings[1].visit_id


def test_another_picture_size_ends_the_visits(models: Models) -> None:
    """Boxes in pictures of different sizes are not comparable."""
    observer = CountingObserver()
    stages = CameraStages("gate", models, StageSettings(), observer)
    small = list(walk(2, 0.5))
    enlarged = np.asarray(cv2.resize(small[-1].pixels.bgr(), (384, 230)), np.uint8)
    large = [frame(enlarged, 0.5 + number / 8) for number in range(3)]
    sightings = run(stages, [*small, *large])
    photos = [cv2.imdecode(np.frombuffer(one.photo, np.uint8), cv2.IMREAD_COLOR) for one in sightings]
    assert [photo.shape[:2] for photo in photos if photo is not None] == [(192, 320), (230, 384)]
    assert observer.counts["visits"] == 2


class RecordedAttributes:
    """Attributes that record their arguments."""

    def __init__(self) -> None:
        self.asked: list[tuple[Picture, Rectangle, Picture]] = []

    def describe(self, picture: Picture, bbox: Rectangle, aligned: Picture) -> FaceAttributes:
        self.asked.append((picture, bbox, aligned))
        return FaceAttributes("female", 30.0 + len(self.asked))


def test_attributes_are_computed_once_for_the_posted_shot(models: Models) -> None:
    """For the posted picture, box and aligned face; without models the sighting has no attributes."""
    describing = RecordedAttributes()
    frames = list(walk(2, 1))
    stages = CameraStages("gate", replace(models, attributes=describing), StageSettings(), CountingObserver())
    (sighting,) = run(stages, frames)
    ((picture, bbox, aligned),) = describing.asked
    assert sighting.attributes == FaceAttributes("female", 31.0)
    assert bbox == sighting.bbox
    assert picture.shape == (frames[0].pixels.height, frames[0].pixels.width, 3)
    posted = cv2.imdecode(np.frombuffer(sighting.normalized, np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(posted, aligned)
    (plain,) = run(CameraStages("gate", models, StageSettings(), CountingObserver()), frames)
    assert plain.attributes == FaceAttributes()

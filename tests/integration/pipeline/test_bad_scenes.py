"""Difficult scenes: crowds, posters, crossings, slow cameras and clock jumps."""

import cv2
import numpy as np
import pytest

from pipeline.models.loader import Models
from pipeline.stages import CameraStages, StageSettings
from pipeline.types import Picture, Sighting, UnobservedPipeline
from tests.camera_stages import run
from tests.faces import empty, frame, placed, portrait, walk, wall


def stages_of(models: Models, **settings: float) -> CameraStages:
    return CameraStages("gate", models, StageSettings(**settings), UnobservedPipeline())  # type: ignore[arg-type]


def alike(one: Sighting, other: Sighting) -> float:
    return (1 + float(one.facen @ other.facen)) / 2


def scene_of(*people: tuple[int, int, float, float], width: int = 320, height: int = 192) -> Picture:
    """People as (number, face px, x, y)."""
    scene = wall(width, height)
    for person, size, x, y in people:
        placed(scene, portrait(person, size), x, y)
    return scene


def test_fifty_small_faces_are_fifty_visits(models: Models) -> None:
    """Each face of a crowd is tracked and posted once, with its co-visible visits."""
    places = [(number % 6, 44, 70 + 126 * (number % 10), 80 + 140 * (number // 10)) for number in range(50)]
    crowd = scene_of(*places, width=1280, height=720)
    frames = [frame(np.roll(crowd, 2 * number, axis=1), number / 4) for number in range(3)]
    sightings = run(stages_of(models, visit_shots=2), frames)
    assert len({one.visit_id for one in sightings}) == len(sightings) == 50
    assert all(len(one.co_visible) == 49 for one in sightings)


def test_a_poster_is_one_visit(models: Models) -> None:
    """A face that never moves, and is out of sight for seconds now and then, is one visit, posted meanwhile
    after a minute; a visitor in front of it is another one."""
    stages = stages_of(models, idle_fps=2)
    poster = scene_of((2, 80, 90, 96))
    seconds = [number / 2 for number in range(120) if not (50 <= number < 58 or 80 <= number < 100)]
    sightings = run(stages, [frame(poster, at) for at in seconds], finish=False)
    visitor = [frame(scene_of((0, 80, 70 + 15 * n, 100)), 60 + n / 2) for n in range(4)]
    sightings += run(stages, visitor, finish=False)
    (of_poster,) = sightings
    (of_visitor,) = run(stages, [frame(poster, 62 + number / 2) for number in range(6)])
    assert of_visitor.visit_id != of_poster.visit_id
    assert alike(of_poster, of_visitor) < 0.7


def test_a_face_and_its_reflection_are_two_visits_that_know_of_each_other(models: Models) -> None:
    """Beside a mirror: alike as one person is, and each was visible beside the other, so that the store
    will not make them one."""
    frames = []
    for number in range(10):
        scene = scene_of((2, 80, 70 + 4 * number, 96))
        scene[:, 160:] = scene[:, :160][:, ::-1]
        frames.append(frame(scene, number / 8))
    one, other = run(stages_of(models), frames)
    assert alike(one, other) > models.pack.thresholds.medium
    assert (one.co_visible, other.co_visible) == ((other.visit_id,), (one.visit_id,))


def test_crossing_people_do_not_swap(models: Models) -> None:
    """Two walk through each other, one hidden behind the other for a moment: two visits, each of one face."""
    near, far = 2, 5
    frames = []
    for number in range(24):
        x = 40 + 10 * number
        frames.append(frame(scene_of((far, 70, 310 - x, 92), (near, 84, x, 98)), number / 8))
    sightings = run(stages_of(models), frames)
    ends = sorted(sightings, key=lambda one: one.visit_id)
    alone = [
        run(stages_of(models), [frame(scene_of((who, 80, 150, 96)), n / 8) for n in range(4)])[0]
        for who in (near, far)
    ]
    assert len(ends) == 2
    for one in ends:
        likeness = sorted(alike(one, known) for known in alone)
        assert likeness[1] > 0.85 > 0.7 > likeness[0]
        assert one.detector_info["shots_apart"] == 0
    assert alike(*ends) < 0.7


@pytest.mark.parametrize("pause", [0, 8])
def test_another_person_at_the_same_position_is_another_visit(models: Models, pause: int) -> None:
    """Immediately, or after a second without a face."""
    first = [frame(scene_of((0, 80, 150, 96)), number / 8) for number in range(8)]
    nobody = list(empty(pause / 8, start=1.0))
    second = [frame(scene_of((3, 80, 156, 98)), (8 + pause + number) / 8) for number in range(8)]
    sightings = run(stages_of(models), [*first, *nobody, *second])
    assert len(sightings) == 2
    assert alike(*sightings) < 0.7


def test_the_same_face_after_a_second_is_the_same_visit(models: Models) -> None:
    """The person passes behind a pillar, and the light changes meanwhile."""
    first = [frame(scene_of((0, 80, 150, 96)), number / 8) for number in range(8)]
    darker = cv2.convertScaleAbs(scene_of((0, 76, 160, 98)), alpha=0.7)
    second = [frame(np.asarray(darker, np.uint8), 2 + number / 8) for number in range(8)]
    assert len(run(stages_of(models), [*first, *second])) == 1


def test_a_face_that_enters_at_the_edge_is_posted_when_it_is_whole(models: Models) -> None:
    """One visit, without a shot of half a face."""
    frames = [frame(scene_of((2, 90, -10 + 20 * number, 96)), number / 8) for number in range(9)]
    (sighting,) = run(stages_of(models), frames)
    assert sighting.bbox.left > 10
    assert sighting.shots >= 2
    assert sighting.detector_info["quality"]["share_outside"] < 0.05


@pytest.mark.parametrize("size", [80, 150])
def test_a_face_that_leaves_at_the_edge_stays_the_same_visit(models: Models, size: int) -> None:
    """Although half a face resembles nobody."""
    frames = [frame(scene_of((1, size, 160 + 12 * number, 96)), number / 8) for number in range(23)]
    assert len(run(stages_of(models), frames)) == 1


def test_two_frames_a_second_are_one_visit(models: Models) -> None:
    """A person who walks by is one visit with several agreeing shots."""
    (sighting,) = run(stages_of(models), walk(2, 3, fps=2))
    assert sighting.shots >= 3


def test_a_jump_in_media_time_begins_a_new_visit(models: Models) -> None:
    """A minute later by the media time: whoever is there now came meanwhile."""
    frames = list(walk(2, 1))
    later = [frame(one.pixels.bgr(), one.media_time + 61) for one in frames]
    sightings = run(stages_of(models), [*frames, *later])
    assert [round(one.media_time) // 60 for one in sightings] == [0, 1]
    assert sightings[0].co_visible == sightings[1].co_visible == ()


@pytest.mark.parametrize(
    ("turn", "degrees"), [(None, 0), (cv2.ROTATE_180, 180), (cv2.ROTATE_90_CLOCKWISE, 90)]
)
def test_a_rotated_camera_is_detected(models: Models, turn: int | None, degrees: int) -> None:
    """After ten seconds of people of whom none is upright, until one is."""
    stages = stages_of(models)
    frames = [one for start in range(0, 12, 3) for one in walk(start % 6, 2, fps=4, start=start)]
    for one in frames:
        picture = one.pixels.bgr()
        turned = picture if turn is None else np.asarray(cv2.rotate(picture, turn), np.uint8)
        stages.process(frame(turned, one.media_time))
    assert stages.orientation_degrees == degrees
    run(stages, walk(1, 1, start=20), finish=False)
    assert stages.orientation_degrees == 0


def test_barely_visible_faces_have_a_low_quality_score(models: Models) -> None:
    """Forty pixels, dark and blurred: stored, but no person is created."""
    frames = []
    for number in range(8):
        scene = scene_of((2, 40, 140 + 3 * number, 96))
        dark = cv2.convertScaleAbs(cv2.GaussianBlur(scene, (0, 0), 1.6), alpha=0.4)
        frames.append(frame(np.asarray(dark, np.uint8), number / 8))
    (sighting,) = run(stages_of(models), frames)
    assert sighting.score < -2

"""Scores of a made scene, its truth, and cameras in step."""

import json
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from PIL import Image

from cameras.latest_frame import LatestFrame
from daemon.evaluation.contact_sheet import write_sheet
from daemon.evaluation.inputs import InputError, labelled_pictures
from daemon.evaluation.lockstep import Lockstep
from daemon.evaluation.scene_scores import SceneFace, identities_of_persons, score
from daemon.evaluation.truth import Truth, clips_of, read_junk, read_truth
from pipeline.types import ArrayPixels, Frame, Rectangle

BEGAN = datetime(2026, 3, 1, 12, tzinfo=UTC)


def truth(*visits: tuple[str, str, int, int]) -> Truth:
    """Visits of an identity at a camera from a frame on, growing to so many pixels; each stands still, apart
    from the others, for 20 frames."""
    rows = [
        {"visit": n, "id": identity, "camera": camera, "start": start, "end": start + 20, "max_face_px": size}
        for n, (identity, camera, start, size) in enumerate(visits)
    ]
    boxes = {
        camera: [
            [frame, n, identity, 100 * n, 0, 80, 80]
            for n, (identity, at, start, _) in enumerate(visits)
            for frame in range(start, start + 20)
            if at == camera
        ]
        for camera in {visit[1] for visit in visits}
    }
    return Truth.model_validate({"fps": 10, "size": [1000, 100], "visits": rows, "boxes": boxes})


def face(visit: int, camera: str, seconds: float, person: int | None) -> SceneFace:
    return SceneFace(camera, person, Rectangle(100 * visit + 5, 0, 100 * visit + 85, 80), seconds)


def test_every_visit_found_and_every_person_right_is_perfect():
    """Two identities at two cameras, one of them twice."""
    scene = truth(("a", "cam1", 0, 90), ("b", "cam2", 0, 90), ("a", "cam2", 30, 90))
    faces = [face(0, "cam1", 1, 7), face(1, "cam2", 1.5, 8), face(2, "cam2", 3.5, 7)]
    scores = score(scene, faces, 60)
    assert (scores.visit_recall, scores.stray_faces, scores.faces_per_visit) == (1, 0, 1)
    assert (scores.identities, scores.persons, scores.bcubed_f1) == (2, 2, 1)
    assert scores.seconds_to_first_face == 1


def test_what_went_wrong_is_counted_as_what_it_is():
    """A visit missed, one stored twice as two persons, one without a person, and a face at an empty wall."""
    scene = truth(("a", "cam1", 0, 90), ("b", "cam1", 0, 90), ("c", "cam1", 0, 90))
    faces = [face(0, "cam1", 0.4, 1), face(0, "cam1", 0.2, 1), face(0, "cam1", 1, 2)]
    faces += [face(1, "cam1", 0.5, None), face(8, "cam1", 0.5, 3)]
    scores = score(scene, faces, 60)
    assert (scores.visits, scores.visits_found, scores.visits_withheld) == (3, 2, 1)
    assert (scores.stray_faces, scores.faces_per_visit) == (1, 2)
    assert (scores.identities, scores.persons) == (1, 2)
    assert scores.seconds_to_first_face == pytest.approx(0.35)


def test_a_face_belongs_to_the_camera_and_the_moment_where_it_was_seen():
    """The right place at the wrong time, or at another camera, is a stray face; two frames off is not."""
    scene = truth(("a", "cam1", 10, 90))
    moments = [("cam1", 0.8, 0), ("cam1", 0.7, 1), ("cam1", 3.1, 0), ("cam1", 3.2, 1), ("cam2", 1.5, 1)]
    for camera, seconds, stray in moments:
        assert score(scene, [face(0, camera, seconds, 1)], 60).stray_faces == stray


def test_small_visits_count_neither_way():
    """A face that stays below the limit is no visit, and its stored face no stray one."""
    scores = score(truth(("a", "cam1", 0, 59)), [face(0, "cam1", 1, 1)], 60)
    assert (scores.visits, scores.visits_found, scores.stray_faces, scores.persons) == (0, 0, 0, 0)
    assert scores.seconds_to_first_face is None


def test_persons_of_junk_mixed_persons_and_split_identities_are_counted():
    """Person 1 has two identities, identity b two persons, person 3 is an empty wall, person 4 a detection
    that lies on a visitor but is listed as junk."""
    scene = truth(("a", "cam1", 0, 90), ("b", "cam1", 0, 90), ("c", "cam1", 0, 90))
    faces = [face(0, "cam1", 1, 1), face(1, "cam1", 1, 1), face(1, "cam1", 1.5, 2)]
    faces += [face(8, "cam1", 0.5, 3), face(2, "cam1", 0.5, 4), face(8, "cam1", 0.5, None)]
    junk = {"cam1": [(5, "ear", 205, 0, 80, 80)]}
    scores = score(scene, faces, 60, junk)
    assert (scores.persons_of_junk, scores.persons_mixed, scores.identities_split) == (2, 1, 1)
    assert scores.stray_faces == 3
    assert score(scene, faces, 60).persons_of_junk == 1
    assert identities_of_persons(scene, faces, junk) == {1: {"a": 1, "b": 1}, 2: {"b": 1}, 3: {}, 4: {}}


def test_clips_of_a_scene_may_have_frame_rates_of_their_own():
    """The same second is another frame number at another rate; a camera without a rate is an error."""
    scene = truth(("a", "cam1", 20, 90), ("b", "cam2", 20, 90))
    mixed = Truth.model_validate({**scene.model_dump(), "fps": {"cam1": 10, "cam2": 20}})
    assert score(mixed, [face(0, "cam1", 3, 1), face(1, "cam2", 1.5, 2)], 60).visits_found == 2
    assert score(mixed, [face(1, "cam2", 3, 2)], 60).stray_faces == 1
    assert mixed.seconds == 4
    with pytest.raises(ValueError, match="fps has no entry for the camera cam2"):
        Truth.model_validate({**scene.model_dump(), "fps": {"cam1": 10}})


def test_an_invalid_list_of_junk_is_one_line(tmp_path):
    """The file, and where in it; a scene without one has none."""
    assert read_junk(tmp_path) == {}
    (tmp_path / "junk.json").write_text('{"cam1": [[1, "ear", 0, 0, "wide", 9]]}')
    with pytest.raises(InputError, match=r"junk\.json: cam1\.0\.4: .*number"):
        read_junk(tmp_path)


def test_a_contact_sheet_shows_each_person_and_their_faces(tmp_path):
    """Its height grows with the persons and their rows; a picture's colour appears in its place."""
    Image.new("RGB", (60, 70), "red").save(tmp_path / "red.png")
    red = (tmp_path / "red.png").as_uri()
    faces = [SceneFace("cam1", 1, Rectangle(0, 0, 80, 80), n, thumbnail=red) for n in range(11)]
    owners = {1: Counter({"a": 11}), 2: Counter[str]()}
    write_sheet(tmp_path / "one.png", faces, owners)
    more = [*faces, *(face(0, "cam1", 1, person) for person in [2, *[None] * 9])]
    write_sheet(tmp_path / "two.png", more, owners)
    with Image.open(tmp_path / "one.png") as one, Image.open(tmp_path / "two.png") as two:
        assert one.width == two.width
        assert two.height > one.height
        assert one.getpixel((60, 90)) == (255, 0, 0)
    with pytest.raises(InputError, match="cannot be written"):
        write_sheet(tmp_path / "nowhere" / "sheet.png", faces, owners)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cannot be read"),
        ("{", "Invalid JSON"),
        ("[]", "truth.json"),
        ('{"fps": 0, "visits": [], "boxes": {}}', "fps"),
        ('{"fps": 5, "visits": [{"visit": 1}], "boxes": {}}', "visits.0.id: Field required"),
    ],
)
def test_what_is_wrong_with_a_truth_is_one_line(tmp_path, content, told):
    """The file, and where in it."""
    if content is not None:
        (tmp_path / "truth.json").write_text(content)
    with pytest.raises(InputError) as error:
        read_truth(tmp_path)
    assert str(tmp_path / "truth.json") in str(error.value)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_a_camera_of_the_truth_without_its_clip_is_named(tmp_path):
    """cam1.mp4 is missing."""
    (tmp_path / "truth.json").write_text(json.dumps(truth(("a", "cam1", 0, 9)).model_dump()))
    with pytest.raises(InputError, match=r"cam1\.mp4 is missing"):
        clips_of(tmp_path, read_truth(tmp_path))


def test_people_are_folders_or_the_first_part_of_a_name(tmp_path):
    """The variant follows the last underscore; hidden and other files are skipped."""
    (tmp_path / "Anna").mkdir()
    for name in ("Anna/x.JPG", "Bert_von_B_0001.png", "Carl.jpg", ".hidden.jpg", "boxes.json"):
        (tmp_path / name).touch()
    found = {picture.path.name: picture.person for picture in labelled_pictures(tmp_path)}
    assert found == {"x.JPG": "Anna", "Bert_von_B_0001.png": "Bert_von_B", "Carl.jpg": "Carl"}
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="contains no pictures"):
        labelled_pictures(empty)
    with pytest.raises(InputError, match="cannot be read"):
        labelled_pictures(tmp_path / "nowhere")


class Diary:
    """Stages that write down what they are given, and see a sighting in every frame."""

    def __init__(self, name, pages):
        self._name, self._pages = name, pages

    def process(self, frame):
        self._pages.append((self._name, round(frame.media_time, 3), frame.captured_at))
        return [f"{self._name} {frame.media_time:.1f}"]

    def finish(self):
        self._pages.append((self._name, "end", None))
        return [f"{self._name} end"]


def _played(pauses):
    """Two cameras, at 0, 0.2, 0.4 … and at 0.1, 0.3 …, that come at their own pace."""
    pages, stored = [], []
    steps = Lockstep(BEGAN, stored.append, lambda _: None)
    slots = {name: LatestFrame(name, on_ready=steps.wake) for name in pauses}
    for name, slot in slots.items():
        steps.add(name, slot, Diary(name, pages))

    def feed(name, offset):
        for number in range(5):
            threading.Event().wait(pauses[name])
            pixels = ArrayPixels(np.zeros((2, 2, 3), np.uint8))
            slots[name].put(Frame(name, datetime.now(UTC), offset + number / 5, pixels), wait=True)
        slots[name].close()

    feeders = [threading.Thread(target=feed, args=(name, n / 10)) for n, name in enumerate(slots)]
    for feeder in feeders:
        feeder.start()
    steps.run()
    for feeder in feeders:
        feeder.join()
    return pages, stored


@pytest.mark.parametrize("pauses", [{"a": 0.0, "b": 0.01}, {"a": 0.01, "b": 0.0}])
def test_cameras_in_step_are_analysed_by_media_time_however_fast_each_is(pauses):
    """Frames alternate, capture times come from one clock, and each end follows its camera's last frame."""
    pages, stored = _played(pauses)
    frames = [(name, moment) for name, moment, _ in pages if moment != "end"]
    assert frames == [("ab"[n % 2], n / 10) for n in range(10)]
    assert stored[-3:] == ["a end", "b 0.9", "b end"]
    assert all(at == BEGAN + timedelta(seconds=moment) for _, moment, at in pages if moment != "end")


def test_a_stop_ends_the_wait_for_a_camera_that_gives_nothing():
    """`run` returns though the camera never ended."""
    steps = Lockstep(BEGAN, lambda _: None, lambda _: None)
    steps.add("a", LatestFrame("a", on_ready=steps.wake), Diary("a", []))
    running = threading.Thread(target=steps.run)
    running.start()
    steps.stop()
    running.join(5)
    assert not running.is_alive()
